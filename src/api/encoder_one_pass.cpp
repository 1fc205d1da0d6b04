// The part of the encoder that takes checksum and sizes and encodes in one pass over the rows, into memory.

#include "api/encoder.hpp"
#include "api/section_buffers.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"
#include "cpu/checksum.hpp"
#include "cpu/copy.hpp"
#include "cpu/parallel.hpp"
#include "packings/slot.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

/// Encoded rows are moved to where they belong in pieces of about this size. While a piece is written past the caches
/// nothing is read: with pieces of 64 KiB the whole takes an eighth longer (Intel Xeon with AMX).
constexpr std::uint64_t kFlushBytes = 2048;

constexpr std::uint64_t kLineBytes = 64;

/// A thread that has encoded so much that has no place yet waits until it has one.
constexpr std::uint64_t kMaxStagedBytes = std::uint64_t{4} << 20;

/// What a thread has encoded and not yet moved: of the chunk that it works on, and of chunks before that one.
struct Staged {
  struct Part {
    std::uint64_t chunk = 0;
    std::uint64_t num_moved = 0;  ///< bytes of the chunk that are where they belong
    std::uint64_t begin = 0;      ///< where in `rows` the others are
    std::uint64_t end = 0;
    std::vector<std::uint64_t> trailers;  ///< where in `rows` the offsets of tails stand: so far, within their chunk
  };
  Buffer rows;
  std::vector<Part> parts;         ///< in order; the last one is the chunk that is worked on
  std::vector<std::byte> encoded;  ///< a row on its way to its slot

  /// Where to encode up to `num_bytes` bytes and what kernels write behind them.
  std::byte* room_for(std::uint64_t num_bytes) {
    const std::uint64_t end = parts.back().end;
    const std::uint64_t needed = end + num_bytes + RowCodec::kSlack;
    rows.reserve(num_bytes + kFlushBytes + RowCodec::kSlack);
    if (rows.size() < needed) rows.resize(needed);
    return rows.data() + end;
  }
};

/// Waits for what was copied past the caches when a chunk is left, and lets those who wait go if it was not encoded.
class Leaving {
 public:
  explicit Leaving(ChunkPlaces& places) : places_(places) {}
  ~Leaving() {
    cpu::finish_copies();
    if (!is_encoded) places_.fail();
  }
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;

  bool is_encoded = false;

 private:
  ChunkPlaces& places_;
};

}  // namespace

class Encoder::OnePass {
 public:
  OnePass(Encoder& encoder, BufferSink& sink)
      : encoder_(encoder),
        header_(encoder.header_),
        sink_(sink),
        staged_(encoder.num_threads_),
        tails_(encoder.num_chunks()),
        places_(encoder.chunks_) {
    if (is_packed()) sizes_.resize(header_.stored_tiles().num_rows);
  }

  /// Encodes all rows and describes them in the header. False when there was no room for them.
  Result<bool> encode_rows() {
    packing::PackedSizes all;
    std::mutex mutex;
    Result<void> encoded =
        encoder_.check_and(encoder_.num_chunks(), [&](std::uint64_t chunk, unsigned worker, PieceDigest& digest) {
          const Result<void> result = encode_chunk(chunk, staged_[worker], digest);
          const packing::PackedSizes sizes = packed_sizes(chunk);
          const std::lock_guard lock(mutex);
          all.add(sizes);
          return result;
        });
    for (auto staged = staged_.begin(); encoded.ok() && staged != staged_.end(); ++staged)
      encoded = move_rows(*staged, Until::kEnd);
    cpu::finish_copies();
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

  /// Encodes a chunk, and moves what has a place. What has none stays with the thread, which goes on: threads that
  /// waited for each other at every chunk would spend more time on falling asleep and being woken than on encoding.
  Result<void> encode_chunk(std::uint64_t chunk, Staged& staged, PieceDigest& digest) {
    Leaving leaving(places_);
    const TileRange range = encoder_.chunk_range(chunk);
    const std::uint64_t begin = staged.parts.empty() ? 0 : staged.parts.back().end;
    staged.parts.push_back({chunk, 0, begin, begin, {}});
    for (std::uint64_t i = range.first; i < range.end; ++i) {
      encoder_.request_ahead(i, 0);
      is_packed() ? encode_packed(i, staged) : encode_slot(i, staged, tails_[chunk]);
      encoder_.request_ahead(i, 1);
      STILLBIT_CHECK(move_some(staged));
      encoder_.request_ahead(i, 2);
      digest.reach(encoder_.tile_offset(i) + header_.tile_bytes);
    }
    const Staged::Part& part = staged.parts.back();
    places_.add(chunk, {part.num_moved + part.end - part.begin, tails_[chunk].size()});
    leaving.is_encoded = true;
    return move_rows(staged, Until::kEnd);
  }

  void encode_packed(std::uint64_t i, Staged& staged) {
    const std::uint64_t size = encoder_.codec_->encode(encoder_.tile(i), staged.room_for(header_.tile_bytes));
    sizes_[i] = static_cast<std::uint32_t>(size);
    staged.parts.back().end += size;
  }

  void encode_slot(std::uint64_t i, Staged& staged, std::vector<std::byte>& tails) {
    const std::uint64_t stride = header_.row_unit;
    staged.encoded.resize(header_.tile_bytes + RowCodec::kSlack);
    const std::uint64_t size = encoder_.codec_->encode(encoder_.tile(i), staged.encoded.data());
    const Bytes stored = Bytes(staged.encoded).first(size);
    packing::fill_slot(staged.room_for(stride), stride, stored, size == header_.tile_bytes, tails.size());
    Staged::Part& part = staged.parts.back();
    if (const std::uint64_t tail_bytes = packing::tail_bytes_for(size, stride); tail_bytes > 0) {
      const Bytes tail = stored.last(tail_bytes);
      tails.insert(tails.end(), tail.begin(), tail.end());
      part.trailers.push_back(part.end + packing::slot_head_bytes(stride));
    }
    part.end += stride;
  }

  /// Moves what is staged once it is enough, and has a place.
  Result<void> move_some(Staged& staged) {
    const Staged::Part& part = staged.parts.back();
    if (part.end - part.begin < kFlushBytes) return {};
    if (part.end >= kMaxStagedBytes && !places_.wait(part.chunk))
      return Fault{ErrorCode::kIo, "another part of the tensor was not encoded"};
    return places_.is_known(part.chunk) ? move_rows(staged, Until::kLine) : Result<void>();
  }

  /// How much of the last part is moved: whole lines, so that none is written in two pieces, or all that there is.
  enum class Until { kLine, kEnd };

  /// Moves what is staged to where it belongs, as far as that is known.
  Result<void> move_rows(Staged& staged, Until until) {
    std::vector<Staged::Part>& parts = staged.parts;
    auto part = parts.begin();
    for (; part != parts.end() && places_.is_known(part->chunk); ++part)
      STILLBIT_CHECK(move_part(staged, *part, &*part == &parts.back() ? until : Until::kEnd));
    if (part != parts.end()) {
      parts.erase(parts.begin(), part);
    } else if (part != parts.begin()) {
      parts.erase(parts.begin(), part - 1);
      Staged::Part& last = parts.back();
      const std::uint64_t num_left = last.end - last.begin;
      if (num_left > 0) std::memmove(staged.rows.data(), staged.rows.data() + last.begin, num_left);
      last.begin = 0;
      last.end = num_left;
    }
    return {};
  }

  Result<void> move_part(Staged& staged, Staged::Part& part, Until until) {
    const ChunkPlace& place = places_[part.chunk];
    for (const std::uint64_t trailer : part.trailers) {
      std::byte* tail_offset = staged.rows.data() + trailer;
      store(tail_offset, load<std::uint64_t>(tail_offset) + place.overflow_offset);
    }
    part.trailers.clear();
    const std::uint64_t offset = place.rows_offset + part.num_moved;
    const std::uint64_t num_staged = part.end - part.begin;
    const std::uint64_t num_kept = until == Until::kEnd ? 0 : std::min(num_staged, (offset + num_staged) % kLineBytes);
    const Bytes rows = staged.rows.view().subspan(part.begin, num_staged - num_kept);
    if (offset + rows.size() > encoder_.rows_room_) {
      has_no_room_ = true;
      return Fault{ErrorCode::kIo, "the tensor takes more than its sample promised"};
    }
    part.num_moved += rows.size();
    part.begin += rows.size();
    sink_.write_some(Section::kRows, offset, rows);
    return {};
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
  ChunkPlaces places_;
  std::atomic<bool> has_no_room_{false};
};

Result<bool> Encoder::encode_in_one_pass(const SectionBuffers& buffers) {
  BufferSink sink(buffers);
  sink.renew_rows(rows_room_);
  chunks_.assign(num_chunks() + 1, {});
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
