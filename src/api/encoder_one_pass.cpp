// The part of the encoder that takes checksum and sizes and encodes in one pass over the rows, into memory.

#include "api/encoder.hpp"
#include "api/section_buffers.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "packings/slot.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

/// Encoded rows are moved to where they belong in pieces of about this size, which stay in the caches until then.
constexpr std::uint64_t kFlushBytes = std::uint64_t{64} << 10;

/// A chunk of which so much waits for the chunks before it waits itself.
constexpr std::uint64_t kMaxStagedBytes = std::uint64_t{4} << 20;

/// Chunks lie one behind the other: each learns where it begins when the one before has told where it ends. Threads
/// take chunks in order, so that the one that is waited for is always being worked on.
class Turns {
 public:
  [[nodiscard]] bool has_come(std::uint64_t chunk) const noexcept { return next_.load() == chunk; }

  /// Waits until all chunks before this one have passed. False when one of them never will.
  bool wait(std::uint64_t chunk) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has_come(chunk) || has_failed_; });
    return !has_failed_;
  }
  void pass(std::uint64_t chunk) {
    const std::lock_guard lock(mutex_);
    next_.store(chunk + 1);
    changed_.notify_all();
  }
  void fail() {
    const std::lock_guard lock(mutex_);
    has_failed_ = true;
    changed_.notify_all();
  }

 private:
  std::atomic<std::uint64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_failed_ = false;
};

/// Lets those who wait go when its chunk ends without having passed.
class Turn {
 public:
  Turn(Turns& turns, std::uint64_t chunk) : turns_(turns), chunk_(chunk) {}
  ~Turn() {
    if (!has_passed_) turns_.fail();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  [[nodiscard]] bool has_come() const noexcept { return turns_.has_come(chunk_); }
  bool wait() { return turns_.wait(chunk_); }
  void pass() {
    turns_.pass(chunk_);
    has_passed_ = true;
  }

 private:
  Turns& turns_;
  std::uint64_t chunk_;
  bool has_passed_ = false;
};

/// What a thread has encoded of a chunk and not yet moved.
struct Staged {
  std::vector<std::byte> rows;
  std::uint64_t num_row_bytes = 0;
  std::vector<std::uint64_t> trailers;  ///< where in `rows` the offsets of tails stand: so far, within their chunk
  std::vector<std::byte> encoded;       ///< a row on its way to its slot

  /// Where to encode up to `num_bytes` bytes and what kernels write behind them.
  std::byte* room_for(std::uint64_t num_bytes) {
    const std::uint64_t needed = num_row_bytes + num_bytes + RowCodec::kSlack;
    if (rows.size() < needed) rows.resize(std::max(needed, rows.size() + rows.size() / 2));
    return rows.data() + num_row_bytes;
  }
};

}  // namespace

class Encoder::OnePass {
 public:
  OnePass(Encoder& encoder, BufferSink& sink)
      : encoder_(encoder),
        header_(encoder.header_),
        sink_(sink),
        staged_(encoder.num_threads_),
        tails_(encoder.num_chunks()) {
    if (is_packed()) sizes_.resize(header_.stored_tiles().num_rows);
  }

  /// Encodes all rows and describes them in the header. False when there was no room for them.
  Result<bool> encode_rows() {
    encoder_.chunks_.assign(encoder_.num_chunks() + 1, {});
    packing::PackedSizes all;
    std::mutex mutex;
    const auto encoded = encoder_.check_and(encoder_.num_chunks(), [&](std::uint64_t chunk, unsigned worker) {
      const Result<void> result = encode_chunk(chunk, staged_[worker]);
      const packing::PackedSizes sizes = packed_sizes(chunk);
      const std::lock_guard lock(mutex);
      all.add(sizes);
      return result;
    });
    if (has_no_room_) return false;
    if (!encoded.ok()) return encoded.fault();
    encoder_.describe_sizes(all);
    return true;
  }

  Result<void> write_index() {
    if (header_.index_bits == 0) return {};
    return cpu::parallel_for(encoder_.num_chunks(), encoder_.num_threads_,
                             [&](std::uint64_t chunk, unsigned) { return write_index(chunk); });
  }

  Result<void> write_overflow() {
    for (std::uint64_t chunk = 0; chunk < tails_.size(); ++chunk) {
      const std::uint64_t offset = encoder_.chunks_[chunk].overflow_offset;
      STILLBIT_CHECK(sink_.write(Section::kOverflow, offset, std::exchange(tails_[chunk], {})));
    }
    return {};
  }

 private:
  [[nodiscard]] bool is_packed() const noexcept { return header_.packing == Packing::kPacked; }

  Result<void> encode_chunk(std::uint64_t chunk, Staged& staged) {
    const Fault failed{ErrorCode::kIo, "another part of the tensor was not encoded"};
    Turn turn(turns_, chunk);
    const TileRange range = encoder_.chunk_range(chunk);
    std::uint64_t num_moved = 0;
    staged.num_row_bytes = 0;
    staged.trailers.clear();
    for (std::uint64_t i = range.first; i < range.end; ++i) {
      encoder_.request_ahead(i);
      is_packed() ? encode_packed(i, staged) : encode_slot(i, staged, tails_[chunk]);
      if (staged.num_row_bytes < kFlushBytes) continue;
      if (staged.num_row_bytes >= kMaxStagedBytes && !turn.wait()) return failed;
      if (turn.has_come()) STILLBIT_CHECK(move_rows(chunk, staged, num_moved));
    }
    if (!turn.wait()) return failed;
    const Chunk& begin = encoder_.chunks_[chunk];
    encoder_.chunks_[chunk + 1] = {begin.rows_offset + num_moved + staged.num_row_bytes,
                                   begin.overflow_offset + tails_[chunk].size()};
    turn.pass();
    return move_rows(chunk, staged, num_moved);
  }

  void encode_packed(std::uint64_t i, Staged& staged) {
    const std::uint64_t size = encoder_.codec_->encode(encoder_.tile(i), staged.room_for(header_.tile_bytes));
    sizes_[i] = static_cast<std::uint32_t>(size);
    staged.num_row_bytes += size;
  }

  void encode_slot(std::uint64_t i, Staged& staged, std::vector<std::byte>& tails) {
    const std::uint64_t stride = header_.row_unit;
    staged.encoded.resize(header_.tile_bytes + RowCodec::kSlack);
    const std::uint64_t size = encoder_.codec_->encode(encoder_.tile(i), staged.encoded.data());
    const Bytes stored = Bytes(staged.encoded).first(size);
    packing::fill_slot(staged.room_for(stride), stride, stored, size == header_.tile_bytes, tails.size());
    if (const std::uint64_t tail_bytes = packing::tail_bytes_for(size, stride); tail_bytes > 0) {
      const Bytes tail = stored.last(tail_bytes);
      tails.insert(tails.end(), tail.begin(), tail.end());
      staged.trailers.push_back(staged.num_row_bytes + packing::slot_head_bytes(stride));
    }
    staged.num_row_bytes += stride;
  }

  /// Moves what is staged to its place. Precondition: the chunk's place is known.
  Result<void> move_rows(std::uint64_t chunk, Staged& staged, std::uint64_t& num_moved) {
    const Chunk& begin = encoder_.chunks_[chunk];
    for (const std::uint64_t trailer : staged.trailers) {
      std::byte* tail_offset = staged.rows.data() + trailer;
      store(tail_offset, load<std::uint64_t>(tail_offset) + begin.overflow_offset);
    }
    staged.trailers.clear();
    const Bytes rows = Bytes(staged.rows).first(std::exchange(staged.num_row_bytes, 0));
    const std::uint64_t offset = begin.rows_offset + num_moved;
    if (offset + rows.size() > encoder_.rows_room_) {
      has_no_room_ = true;
      return Fault{ErrorCode::kIo, "the tensor takes more than its sample promised"};
    }
    num_moved += rows.size();
    return sink_.write(Section::kRows, offset, rows);
  }

  [[nodiscard]] packing::PackedSizes packed_sizes(std::uint64_t chunk) const {
    packing::PackedSizes packed;
    if (!is_packed()) return packed;
    const TileRange range = encoder_.chunk_range(chunk);
    for (std::uint64_t first = range.first; first < range.end; first += kIndexBlockTiles)
      packed.add_block(std::span(sizes_).subspan(first, std::min(kIndexBlockTiles, range.end - first)),
                       encoder_.codec_->minimum_row_bytes());
    return packed;
  }

  Result<void> write_index(std::uint64_t chunk) {
    const TileRange range = encoder_.chunk_range(chunk);
    const std::uint64_t entry_bytes = format::index_entry_bytes(header_.index_bits);
    std::vector<std::byte> index(ceil_div(range.end - range.first, kIndexBlockTiles) * entry_bytes);
    std::uint64_t start = encoder_.chunks_[chunk].rows_offset;
    std::uint64_t delta = 0;
    for (std::uint64_t i = range.first; i < range.end; ++i) {
      std::byte* entry = index.data() + (i - range.first) / kIndexBlockTiles * entry_bytes;
      const std::uint64_t within = i % kIndexBlockTiles;
      if (within == 0) {
        store(entry, start);
        delta = 0;
      }
      store_bits(entry + 8, within * header_.index_bits, header_.index_bits, delta);
      delta += sizes_[i] - header_.row_unit;
      start += sizes_[i];
    }
    return sink_.write(Section::kIndex, range.first / kIndexBlockTiles * entry_bytes, index);
  }

  Encoder& encoder_;
  const format::PayloadHeader& header_;
  BufferSink& sink_;
  std::vector<Staged> staged_;                 ///< one for each thread
  std::vector<std::uint32_t> sizes_;           ///< of packed tiles
  std::vector<std::vector<std::byte>> tails_;  ///< of each chunk's slots
  Turns turns_;
  std::atomic<bool> has_no_room_{false};
};

Result<bool> Encoder::encode_in_one_pass(const SectionBuffers& buffers) {
  BufferSink sink(buffers);
  buffers.rows.renew(rows_room_);
  OnePass pass(*this, sink);
  STILLBIT_TRY(const bool has_room, pass.encode_rows());
  if (!has_room || promised_too_much()) return false;
  buffers.map.renew(header_.map_bytes());
  buffers.index.renew(header_.index_bytes);
  buffers.rows.resize(header_.rows_bytes);
  buffers.overflow.renew(header_.overflow_bytes);
  STILLBIT_CHECK(write_map(sink));
  STILLBIT_CHECK(pass.write_index());
  STILLBIT_CHECK(pass.write_overflow());
  return true;
}

Result<Encoder> Encoder::encode(const Source& source, const CompressOptions& options, const SectionBuffers& buffers) {
  Encoder encoder(source, options);
  STILLBIT_CHECK(encoder.choose());
  if (encoder.rows_room_ > 0) {
    STILLBIT_TRY(const bool is_encoded, encoder.encode_in_one_pass(buffers));
    if (is_encoded) return encoder;
  }
  STILLBIT_CHECK(encoder.measure());
  if (encoder.promised_too_much()) encoder.store_raw();
  BufferSink sink(buffers);
  sink.renew(encoder.header_);
  STILLBIT_CHECK(encoder.write(sink));
  return encoder;
}

}  // namespace stillbit
