#include "api/encoder.hpp"

#include "api/registry.hpp"
#include "codecs/raw/raw.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"
#include "packings/slot.hpp"
#include "planner/choose.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <optional>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

/// Raw bytes of a chunk: enough to outweigh handing it out, few enough to stay in the caches between two steps.
constexpr std::uint64_t kChunkBytes = std::uint64_t{512} << 10;

/// Encoded rows are handed to the sink in pieces of about this size.
constexpr std::uint64_t kFlushBytes = std::uint64_t{64} << 10;

/// Raw bytes that the first pass takes the checksum of, and then counts while they are in the cache.
constexpr std::uint64_t kScanBytes = kChecksumPieceBytes / 4;

/// Longer rows are counted word by word, not column by column: the counts take 64 bytes for each byte of a row.
constexpr std::uint64_t kMaxCountedRowBytes = 65536;

/// Rows shorter than this are encoded in tiles of about this size, where they are packed. At 512 bytes the half byte
/// that ends a tile on average and its bits in the index cost less than 0.5 %.
constexpr std::uint64_t kShortTileBytes = 512;

/// Rows too long to be counted column by column are encoded in tiles of this size, where they are packed.
constexpr std::uint64_t kLongTileBytes = 4096;

/// Codecs do not look at rows longer than this.
constexpr std::uint64_t kMaxSampledRowBytes = std::uint64_t{16} << 20;

Fault source_changed() {
  return {ErrorCode::kIo, "the tensor changed while it was compressed"};
}

/// What statistics count as a row. Where it is not a row, rows are made of whole ones of it.
std::uint64_t counted_bytes(const RowGeometry& geometry, unsigned element_bytes) {
  if (geometry.row_bytes <= kMaxCountedRowBytes) return geometry.row_bytes;
  return geometry.row_bytes % 8 == 0 ? 8 : element_bytes;
}

std::uint64_t choose_tile_bytes(const RowGeometry& geometry, Packing packing) {
  if (packing == Packing::kSlotted) return geometry.row_bytes;
  if (geometry.row_bytes > kMaxCountedRowBytes) return kLongTileBytes;
  const std::uint64_t num_rows = std::min(ceil_div(kShortTileBytes, geometry.row_bytes), geometry.num_rows);
  return num_rows * geometry.row_bytes;
}

}  // namespace

Encoder::Encoder(const Source& source, const CompressOptions& options)
    : source_(source), options_(options), num_threads_(cpu::resolve_threads(options.num_threads)) {}

void Encoder::done(std::uint64_t offset, std::uint64_t num_bytes) const {
  if (source_.is_mapped) io::release_pages(source_.data.subspan(offset, num_bytes));
  if (options_.progress) options_.progress(num_bytes);
}

Result<Encoder> Encoder::prepare(const Source& source, const CompressOptions& options) {
  Encoder encoder(source, options);
  STILLBIT_CHECK(encoder.describe());
  encoder.store_raw();
  const RowGeometry& geometry = encoder.header_.geometry;
  if (options.codec == Codec::kRaw || geometry.num_bytes() == 0) {
    STILLBIT_CHECK(encoder.scan(nullptr));
    return encoder;
  }
  BitStatistics statistics(counted_bytes(geometry, num_bytes(source.dtype)));
  STILLBIT_CHECK(encoder.scan(&statistics));

  const format::PayloadHeader raw_header = encoder.header_;
  STILLBIT_TRY(const bool is_planned, encoder.plan(statistics));
  if (is_planned) STILLBIT_CHECK(encoder.measure());
  if (!is_planned || layout_of(encoder.header_).payload_bytes >= layout_of(raw_header).payload_bytes) {
    encoder.header_ = raw_header;
    encoder.store_raw();
  }
  return encoder;
}

Result<void> Encoder::describe() {
  if (options_.row_dims > source_.shape.size() && !source_.shape.empty()) {
    return invalid("row_dims " + std::to_string(options_.row_dims) + " is above the rank of shape " +
                   to_string(source_.shape));
  }
  header_.dtype = source_.dtype;
  header_.shape = source_.shape;
  header_.packing = options_.packing;
  header_.row_dims = static_cast<std::uint8_t>(std::min<std::size_t>(options_.row_dims, source_.shape.size()));
  STILLBIT_TRY(header_.geometry, row_geometry(header_.dtype, header_.shape, header_.row_dims));
  if (header_.geometry.num_bytes() != source_.data.size()) {
    return invalid("shape " + to_string(header_.shape) + " takes " + std::to_string(header_.geometry.num_bytes()) +
                   " bytes, the data has " + std::to_string(source_.data.size()));
  }
  return {};
}

Result<bool> Encoder::plan(const BitStatistics& statistics) {
  std::vector<PlanCodec> candidates;
  for (const CodecEntry& entry : all_codecs()) {
    const bool is_wanted = !options_.codec || *options_.codec == entry.codec;
    if (is_wanted && entry.codec != Codec::kRaw) candidates.push_back(entry.plan);
  }
  if (candidates.empty()) return invalid("the codec asked for is unknown");

  header_.tile_bytes = choose_tile_bytes(header_.geometry, options_.packing);
  fill_last_tile();
  const RowGeometry tiles = header_.tiles();
  if (tiles.row_bytes > kMaxSampledRowBytes) return false;
  const Bytes whole_tiles = source_.data.first(source_.data.size() / tiles.row_bytes * tiles.row_bytes);
  std::vector<std::byte> copied;
  const Bytes sample = planner::take_sample(whole_tiles, tiles.row_bytes, options_.max_sample_bytes, copied);
  const unsigned element_bytes = num_bytes(header_.dtype);
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  const std::uint64_t period_bytes = tiles.row_bytes % row_bytes == 0 ? row_bytes : element_bytes;
  codec_ = planner::choose(
      {tiles, element_bytes, period_bytes, statistics, sample, sample.size() == source_.data.size()}, candidates);
  if (!codec_) return false;

  header_.codec = codec_->codec();
  header_.plan_bytes = codec_->plan().size();
  if (options_.packing == Packing::kPacked) return true;
  auto sizes = planner::sampled_sizes(*codec_, sample, tiles.row_bytes);
  header_.row_unit = packing::choose_stride(sizes, tiles.row_bytes);
  return header_.row_unit < tiles.row_bytes;
}

Result<void> Encoder::scan(BitStatistics* statistics) {
  const Bytes data = source_.data;
  Checksum checksum;
  std::vector<std::optional<BitStatistics>> counts(num_threads_);
  STILLBIT_CHECK(cpu::parallel_for(ceil_div(data.size(), kChecksumPieceBytes), num_threads_,
                                   [&](std::uint64_t piece, unsigned worker) -> Result<void> {
                                     if (statistics != nullptr && !counts[worker])
                                       counts[worker].emplace(statistics->row_bytes());
                                     const std::uint64_t begin = piece * kChecksumPieceBytes;
                                     const std::uint64_t end =
                                         std::min<std::uint64_t>(begin + kChecksumPieceBytes, data.size());
                                     Digest digest;
                                     for (std::uint64_t offset = begin; offset < end; offset += kScanBytes) {
                                       const std::uint64_t next = std::min(offset + kScanBytes, end);
                                       digest.update(data.subspan(offset, next - offset));
                                       if (statistics == nullptr) continue;
                                       // Rows do not end where pieces do: those that start in a part are counted with
                                       // it, in whole laps.
                                       const std::uint64_t lap = statistics->lap_bytes();
                                       const std::uint64_t first = ceil_div(offset, lap) * lap;
                                       const std::uint64_t last =
                                           std::min<std::uint64_t>(ceil_div(next, lap) * lap, data.size());
                                       if (first < last) counts[worker]->add(data.subspan(first, last - first));
                                     }
                                     checksum.add(piece, digest.value());
                                     done(begin, end - begin);
                                     return {};
                                   }));
  for (const auto& count : counts) {
    if (count) statistics->merge(*count);
  }
  header_.data_checksum = checksum.value();
  return {};
}

void Encoder::store_raw() {
  const RowGeometry& geometry = header_.geometry;
  codec_ = raw::make(geometry.row_bytes);
  header_.codec = Codec::kRaw;
  header_.tile_bytes = geometry.row_bytes;
  header_.row_unit = geometry.row_bytes;
  header_.rows_bytes = geometry.num_bytes();
}

Result<void> Encoder::for_each_chunk(
    const std::function<Result<void>(std::uint64_t, std::uint64_t, std::uint64_t)>& body) const {
  const RowGeometry tiles = header_.tiles();
  return cpu::parallel_for(ceil_div(tiles.num_rows, tiles_per_chunk_), num_threads_,
                           [&](std::uint64_t chunk, unsigned) -> Result<void> {
                             const std::uint64_t first = chunk * tiles_per_chunk_;
                             const std::uint64_t end = std::min(first + tiles_per_chunk_, tiles.num_rows);
                             STILLBIT_CHECK(body(chunk, first, end));
                             const std::uint64_t begin = first * tiles.row_bytes;
                             done(begin, std::min<std::uint64_t>(end * tiles.row_bytes, source_.data.size()) - begin);
                             return {};
                           });
}

void Encoder::fill_last_tile() {
  const RowGeometry tiles = header_.tiles();
  const Bytes data = source_.data;
  const std::uint64_t missing = tiles.num_bytes() - data.size();
  if (missing == 0) return;
  const Bytes last = data.last(tiles.row_bytes - missing);
  last_tile_.assign(last.begin(), last.end());
  // A tile of rows is filled up with rows, a part of a row with elements.
  const bool has_rows = tiles.row_bytes > header_.geometry.row_bytes;
  const Bytes filling = data.last(has_rows ? header_.geometry.row_bytes : num_bytes(header_.dtype));
  while (last_tile_.size() < tiles.row_bytes) last_tile_.insert(last_tile_.end(), filling.begin(), filling.end());
}

const std::byte* Encoder::tile(std::uint64_t i) const noexcept {
  const std::uint64_t tile_bytes = header_.tile_bytes;
  return (i + 1) * tile_bytes > source_.data.size() ? last_tile_.data() : source_.data.data() + i * tile_bytes;
}

Result<void> Encoder::measure() {
  const RowGeometry geometry = header_.tiles();
  const bool is_packed = header_.packing == Packing::kPacked;
  const std::uint64_t minimum = codec_->minimum_row_bytes();
  tiles_per_chunk_ = align_up(std::max<std::uint64_t>(1, kChunkBytes / geometry.row_bytes), kIndexBlockTiles);
  chunks_.assign(ceil_div(geometry.num_rows, tiles_per_chunk_) + 1, {});
  std::atomic<std::uint64_t> largest_delta{0};

  STILLBIT_CHECK(for_each_chunk([&](std::uint64_t chunk, std::uint64_t first, std::uint64_t end) -> Result<void> {
    Chunk total;
    std::uint64_t largest = 0;
    for (std::uint64_t block = first; block < end; block += kIndexBlockTiles) {
      std::uint32_t sizes[kIndexBlockTiles];
      const std::uint64_t count = std::min(kIndexBlockTiles, end - block);
      // The last tile may lie elsewhere.
      codec_->measure(tile(block), count - 1, sizes);
      codec_->measure(tile(block + count - 1), 1, sizes + count - 1);
      std::uint64_t delta = 0;
      for (std::uint64_t i = 0; i < count; ++i) {
        largest = std::max(largest, delta);
        delta += sizes[i] - minimum;
        if (!is_packed) total.overflow_offset += packing::tail_bytes_for(sizes[i], header_.row_unit);
      }
      total.rows_offset += delta + count * minimum;
    }
    chunks_[chunk + 1] = total;
    for (auto seen = largest_delta.load(); seen < largest && !largest_delta.compare_exchange_weak(seen, largest);) {
    }
    return {};
  }));
  for (std::size_t i = 1; i < chunks_.size(); ++i) {
    chunks_[i].rows_offset += chunks_[i - 1].rows_offset;
    chunks_[i].overflow_offset += chunks_[i - 1].overflow_offset;
  }

  if (is_packed) {
    header_.row_unit = minimum;
    header_.rows_bytes = chunks_.back().rows_offset;
    const bool all_equal = header_.rows_bytes == geometry.num_rows * minimum;
    header_.index_bits = all_equal ? 0 : static_cast<std::uint8_t>(std::bit_width(largest_delta.load() | 1));
    header_.index_bytes = format::index_bytes_for(geometry.num_rows, header_.index_bits);
  } else {
    header_.rows_bytes = geometry.num_rows * header_.row_unit;
    header_.overflow_bytes = chunks_.back().overflow_offset;
  }
  return {};
}

void Encoder::set_codec_aside() {
  if (!codec_) return;
  plan_ = codec_->plan();
  codec_.reset();
}

Result<void> Encoder::write(SectionSink& sink) {
  if (header_.codec == Codec::kRaw) return write_raw(sink);
  if (!codec_) {
    STILLBIT_TRY(codec_, open_codec(header_.codec, plan_, header_.tile_bytes));
  }
  STILLBIT_CHECK(sink.write(Section::kPlan, 0, codec_->plan()));
  return for_each_chunk([&](std::uint64_t chunk, std::uint64_t first, std::uint64_t end) {
    return header_.packing == Packing::kPacked ? write_packed(sink, chunk, first, end)
                                               : write_slotted(sink, chunk, first, end);
  });
}

Result<void> Encoder::write_raw(SectionSink& sink) const {
  const std::uint64_t size = source_.data.size();
  return cpu::parallel_for(ceil_div(size, kChunkBytes), num_threads_,
                           [&](std::uint64_t task, unsigned) -> Result<void> {
                             const std::uint64_t offset = task * kChunkBytes;
                             const std::uint64_t count = std::min(kChunkBytes, size - offset);
                             STILLBIT_CHECK(sink.write(Section::kRows, offset, source_.data.subspan(offset, count)));
                             done(offset, count);
                             return {};
                           });
}

Result<void> Encoder::write_packed(SectionSink& sink, std::uint64_t chunk, std::uint64_t first,
                                   std::uint64_t end) const {
  const std::uint64_t tile_bytes = header_.tiles().row_bytes;
  const std::uint64_t entry_bytes = format::index_entry_bytes(header_.index_bits);
  std::vector<std::byte> index;
  if (header_.index_bits > 0) index.resize(ceil_div(end - first, kIndexBlockTiles) * entry_bytes);
  std::vector<std::byte> encoded(kFlushBytes + tile_bytes + RowCodec::kSlack);
  std::uint64_t filled = 0;
  std::uint64_t written = chunks_[chunk].rows_offset;
  std::uint64_t block_start = written;

  const auto flush = [&]() -> Result<void> {
    if (written + filled > chunks_[chunk + 1].rows_offset) return source_changed();
    STILLBIT_CHECK(sink.write(Section::kRows, written, Bytes(encoded).first(filled)));
    written += filled;
    filled = 0;
    return {};
  };
  for (std::uint64_t row = first; row < end; ++row) {
    if (!index.empty()) {
      const std::uint64_t start = written + filled;
      std::byte* entry = index.data() + (row - first) / kIndexBlockTiles * entry_bytes;
      const std::uint64_t within = row % kIndexBlockTiles;
      if (within == 0) store(entry, block_start = start);
      const std::uint64_t delta = start - block_start - within * header_.row_unit;
      if (delta >> header_.index_bits != 0) return source_changed();
      store_bits(entry + 8, within * header_.index_bits, header_.index_bits, delta);
    }
    filled += codec_->encode(tile(row), encoded.data() + filled);
    if (filled >= kFlushBytes) STILLBIT_CHECK(flush());
  }
  STILLBIT_CHECK(flush());
  if (written != chunks_[chunk + 1].rows_offset) return source_changed();
  return sink.write(Section::kIndex, first / kIndexBlockTiles * entry_bytes, index);
}

Result<void> Encoder::write_slotted(SectionSink& sink, std::uint64_t chunk, std::uint64_t first,
                                    std::uint64_t end) const {
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  const std::uint64_t stride = header_.row_unit;
  const std::uint64_t rows_per_flush = std::max<std::uint64_t>(1, kFlushBytes / stride);
  std::vector<std::byte> encoded(row_bytes + RowCodec::kSlack);
  std::vector<std::byte> slots(rows_per_flush * stride);
  std::vector<std::byte> tails;
  std::uint64_t written = chunks_[chunk].overflow_offset;
  std::uint64_t num_slots = 0;

  const auto flush = [&](std::uint64_t next_row) -> Result<void> {
    if (written + tails.size() > chunks_[chunk + 1].overflow_offset) return source_changed();
    STILLBIT_CHECK(sink.write(Section::kRows, (next_row - num_slots) * stride, Bytes(slots).first(num_slots * stride)));
    STILLBIT_CHECK(sink.write(Section::kOverflow, written, tails));
    written += tails.size();
    tails.clear();
    num_slots = 0;
    return {};
  };
  for (std::uint64_t row = first; row < end; ++row) {
    const std::uint64_t size = codec_->encode(tile(row), encoded.data());
    packing::fill_slot(slots.data() + num_slots++ * stride, stride, Bytes(encoded).first(size), size == row_bytes,
                       written + tails.size());
    if (const std::uint64_t tail_bytes = packing::tail_bytes_for(size, stride); tail_bytes > 0) {
      const auto tail = Bytes(encoded).first(size).last(tail_bytes);
      tails.insert(tails.end(), tail.begin(), tail.end());
    }
    if (num_slots == rows_per_flush || tails.size() >= kFlushBytes) STILLBIT_CHECK(flush(row + 1));
  }
  STILLBIT_CHECK(flush(end));
  return written == chunks_[chunk + 1].overflow_offset ? Result<void>() : source_changed();
}

}  // namespace stillbit
