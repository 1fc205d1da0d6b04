#include "api/encoder.hpp"

#include "api/plan.hpp"
#include "api/registry.hpp"
#include "codecs/raw/raw.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"
#include "packings/slot.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

/// Encoded rows are handed to the sink in pieces of about this size.
constexpr std::uint64_t kFlushBytes = std::uint64_t{64} << 10;

/// How far ahead of the tile that is encoded memory is requested: a tile is gone over several times, which the
/// machine's own prefetching does not see through.
constexpr std::uint64_t kAheadBytes = 8192;

/// How far from a piece work on it may bring pages into memory: a block of tiles reaches over its end, and around a
/// page that is touched the system maps those that it has, up to 64 KiB of them. What stayed there would add up.
constexpr std::uint64_t kTouchedAroundBytes = std::uint64_t{128} << 10;

Fault source_changed() {
  return {ErrorCode::kIo, "the tensor changed while it was compressed"};
}

}  // namespace

Encoder::Encoder(const Source& source, const CompressOptions& options)
    : source_(source), options_(options), num_threads_(cpu::resolve_threads(options.num_threads)) {
  if (!options.plan) return;
  options_.packing = options.plan->packing();
  options_.objective = options.plan->objective();
  options_.row_dims = static_cast<unsigned>(options.plan->row_shape().size());
}

void Encoder::done(std::uint64_t offset, std::uint64_t num_bytes) const {
  if (source_.is_mapped) {
    const std::uint64_t begin = offset - std::min(offset, kTouchedAroundBytes);
    const std::uint64_t end = std::min(source_.data.size(), offset + num_bytes + kTouchedAroundBytes);
    io::release_pages(source_.data.subspan(begin, end - begin));
  }
  if (options_.progress) options_.progress(num_bytes);
}

Result<Encoder> Encoder::prepare(const Source& source, const CompressOptions& options) {
  Encoder encoder(source, options);
  STILLBIT_CHECK(encoder.choose());
  STILLBIT_CHECK(encoder.measure());
  if (encoder.promised_too_much()) encoder.store_raw();
  return encoder;
}

Result<void> Encoder::choose() {
  STILLBIT_CHECK(describe());
  store_raw();
  if (options_.plan) return follow(options_.plan->impl());
  if (options_.codec == Codec::kRaw || header_.geometry.num_bytes() == 0) return {};
  return plan();
}

Result<void> Encoder::describe() {
  if (options_.row_dims > source_.shape.size() && !source_.shape.empty()) {
    return invalid("row_dims " + std::to_string(options_.row_dims) + " is above the rank of shape " +
                   to_string(source_.shape));
  }
  header_.dtype = source_.dtype;
  header_.shape = source_.shape;
  header_.packing = options_.packing.value_or(Packing::kSlotted);
  header_.row_dims = static_cast<std::uint8_t>(std::min<std::size_t>(options_.row_dims, source_.shape.size()));
  STILLBIT_TRY(header_.geometry, row_geometry(header_.dtype, header_.shape, header_.row_dims));
  if (all_ == nullptr && header_.geometry.num_bytes() != source_.data.size()) {
    return invalid("shape " + to_string(header_.shape) + " takes " + std::to_string(header_.geometry.num_bytes()) +
                   " bytes, the data has " + std::to_string(source_.data.size()));
  }
  header_.tile_bytes = header_.geometry.row_bytes;
  return {};
}

void Encoder::store_raw(const format::PayloadHeader& header) {
  header_ = planner::price_raw(header).header;
  header_.packing = options_.packing.value_or(header.num_repeats > 0 ? Packing::kPacked : Packing::kSlotted);
  codec_ = raw::make(header.geometry.row_bytes);
}

void Encoder::store_raw() {
  repeats_ = {};
  header_.num_repeats = 0;
  store_raw(format::PayloadHeader(header_));
}

bool Encoder::promised_too_much() const {
  format::PayloadHeader raw = header_;
  raw.num_repeats = 0;
  return layout_of(header_).payload_bytes > layout_of(planner::price_raw(raw).header).payload_bytes;
}

std::uint64_t Encoder::tile_offset(std::uint64_t i) const noexcept {
  if (i == header_.stored_tiles().num_rows) return source_.data.size();
  if (repeats_.stored_rows.empty()) return i * header_.tile_bytes;
  return repeats_.stored_rows[i] * header_.tile_bytes;
}

const std::byte* Encoder::tile(std::uint64_t i) const noexcept {
  const std::uint64_t offset = tile_offset(i);
  return offset + header_.tile_bytes > source_.data.size() ? last_tile_.data() : source_.data.data() + offset;
}

void Encoder::request_ahead(std::uint64_t i, unsigned third) const noexcept {
  constexpr std::uint64_t kLineBytes = 64;
  // More requests at a time than a processor keeps (16 on some) wait for the first ones to be answered, and with them
  // all that comes behind.
  const std::uint64_t third_bytes = ceil_div(header_.tile_bytes, 3 * kLineBytes) * kLineBytes;
  const std::uint64_t first = tile_offset(i) + kAheadBytes;
  const std::uint64_t begin = first + third * third_bytes;
  const std::uint64_t end =
      std::min<std::uint64_t>({source_.data.size(), first + header_.tile_bytes, begin + third_bytes});
  for (std::uint64_t offset = begin; offset < end; offset += kLineBytes)
    __builtin_prefetch(source_.data.data() + offset, 0, 2);
}

std::uint64_t Encoder::num_chunks() const noexcept {
  return ceil_div(header_.stored_tiles().num_bytes(), kChunkBytes);
}

Encoder::TileRange Encoder::chunk_range(std::uint64_t chunk) const noexcept {
  const std::uint64_t num_tiles = header_.stored_tiles().num_rows;
  // Tiles of a packed payload are indexed in blocks, which one thread writes.
  const std::uint64_t unit = header_.packing == Packing::kPacked ? kIndexBlockTiles : 1;
  const auto first_of = [&](std::uint64_t i) {
    return std::min(num_tiles, ceil_div(i * kChunkBytes, unit * header_.tile_bytes) * unit);
  };
  return {first_of(chunk), first_of(chunk + 1)};
}

Result<void> Encoder::check_and(std::uint64_t num_chunks, const ChunkBody& body) {
  const Bytes data = source_.data;
  const std::uint64_t num_pieces = ceil_div(data.size(), kChecksumPieceBytes);
  Checksum checksum;
  STILLBIT_CHECK(cpu::parallel_for(
      std::max(num_pieces, num_chunks), num_threads_, [&](std::uint64_t i, unsigned worker) -> Result<void> {
        PieceDigest digest(data, i);
        if (i < num_chunks) STILLBIT_CHECK(body(i, worker, digest));
        if (i >= num_pieces) return {};
        const std::uint64_t begin = i * kChecksumPieceBytes;
        const std::uint64_t count = std::min<std::uint64_t>(kChecksumPieceBytes, data.size() - begin);
        checksum.add(i, digest.value());
        done(begin, count);
        return {};
      }));
  header_.data_checksum = checksum.value();
  return {};
}

Result<void> Encoder::measure() {
  if (header_.codec == Codec::kRaw && header_.num_repeats == 0) return check_and(0, {});
  chunks_.assign(num_chunks() + 1, {});
  packing::PackedSizes all;
  std::mutex mutex;
  STILLBIT_CHECK(check_and(num_chunks(), [&](std::uint64_t chunk, unsigned, PieceDigest&) -> Result<void> {
    const packing::PackedSizes sizes = measure_chunk(chunk);
    const std::lock_guard lock(mutex);
    all.add(sizes);
    return {};
  }));
  place_chunks();
  describe_sizes(all);
  return {};
}

void Encoder::describe_sizes(const packing::PackedSizes& packed) {
  if (header_.packing == Packing::kPacked) {
    packed.describe(header_, codec_->minimum_row_bytes());
  } else {
    header_.overflow_bytes = chunks_.back().overflow_offset;
  }
}

packing::PackedSizes Encoder::measure_chunk(std::uint64_t chunk) {
  packing::PackedSizes packed;
  Chunk& total = chunks_[chunk + 1];
  const TileRange range = chunk_range(chunk);
  const bool is_packed = header_.packing == Packing::kPacked;
  const bool are_apart = !repeats_.stored_rows.empty();
  for (std::uint64_t first = range.first; first < range.end; first += kIndexBlockTiles) {
    std::uint32_t sizes[kIndexBlockTiles];
    const std::uint64_t count = std::min(kIndexBlockTiles, range.end - first);
    // The last tile may lie elsewhere, and where repeats are left out any tile.
    const std::uint64_t together = are_apart ? 0 : count - 1;
    codec_->measure(tile(first), together, sizes);
    for (std::uint64_t i = together; i < count; ++i) codec_->measure(tile(first + i), 1, sizes + i);
    if (is_packed) packed.add_block(std::span(sizes).first(count), codec_->minimum_row_bytes());
    for (std::uint64_t i = 0; i < count && !is_packed; ++i)
      total.overflow_offset += packing::tail_bytes_for(sizes[i], header_.row_unit);
  }
  total.rows_offset = packed.num_bytes;
  return packed;
}

void Encoder::place_chunks() {
  chunks_[0] = {place_.rows_offset, place_.overflow_offset};
  for (std::size_t i = 1; i < chunks_.size(); ++i) {
    chunks_[i].rows_offset += chunks_[i - 1].rows_offset;
    chunks_[i].overflow_offset += chunks_[i - 1].overflow_offset;
  }
}

void Encoder::set_codec_aside() {
  if (!codec_) return;
  plan_ = codec_->plan();
  codec_.reset();
}

Result<void> Encoder::write(SectionSink& sink) {
  if (!codec_) {
    STILLBIT_TRY(codec_, open_codec(header_.codec, plan_, header_.tile_bytes));
  }
  STILLBIT_CHECK(sink.write(Section::kPlan, 0, codec_->plan()));
  STILLBIT_CHECK(write_map(sink));
  return write_chunks(sink);
}

Result<void> Encoder::write_chunks(SectionSink& sink) const {
  return cpu::parallel_for(num_chunks(), num_threads_, [&](std::uint64_t chunk, unsigned) -> Result<void> {
    const TileRange range = chunk_range(chunk);
    if (range.first == range.end) return {};
    const bool is_raw = header_.codec == Codec::kRaw && header_.num_repeats == 0;
    STILLBIT_CHECK(is_raw                                ? write_raw(sink, range)
                   : header_.packing == Packing::kPacked ? write_packed(sink, chunk)
                                                         : write_slotted(sink, chunk));
    const std::uint64_t begin = tile_offset(range.first);
    done(begin, tile_offset(range.end) - begin);
    return {};
  });
}

Result<void> Encoder::write_map(SectionSink& sink) const {
  const unsigned map_bits = header_.map_bits();
  if (map_bits == 0) return {};
  std::vector<std::byte> map(header_.map_bytes());
  for (std::size_t row = 0; row < repeats_.map.size(); ++row)
    store_bits(map.data(), row * map_bits, map_bits, repeats_.map[row]);
  return sink.write(Section::kMap, 0, map);
}

Result<void> Encoder::write_raw(SectionSink& sink, TileRange range) const {
  const std::uint64_t begin = range.first * header_.tile_bytes;
  return sink.write(Section::kRows, begin, source_.data.subspan(begin, range.end * header_.tile_bytes - begin));
}

Result<void> Encoder::write_packed(SectionSink& sink, std::uint64_t chunk) const {
  const TileRange range = chunk_range(chunk);
  const std::uint64_t first = range.first;
  const std::uint64_t end = range.end;
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
    request_ahead(row, 0);
    filled += codec_->encode(tile(row), encoded.data() + filled);
    request_ahead(row, 1);
    if (filled >= kFlushBytes) STILLBIT_CHECK(flush());
    request_ahead(row, 2);
  }
  STILLBIT_CHECK(flush());
  if (written != chunks_[chunk + 1].rows_offset) return source_changed();
  return sink.write(Section::kIndex, (place_.first_tile + first) / kIndexBlockTiles * entry_bytes, index);
}

Result<void> Encoder::write_slotted(SectionSink& sink, std::uint64_t chunk) const {
  const TileRange range = chunk_range(chunk);
  const std::uint64_t first = range.first;
  const std::uint64_t end = range.end;
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
    const std::uint64_t first_slot = place_.first_tile + next_row - num_slots;
    STILLBIT_CHECK(sink.write(Section::kRows, first_slot * stride, Bytes(slots).first(num_slots * stride)));
    STILLBIT_CHECK(sink.write(Section::kOverflow, written, tails));
    written += tails.size();
    tails.clear();
    num_slots = 0;
    return {};
  };
  for (std::uint64_t row = first; row < end; ++row) {
    request_ahead(row, 0);
    const std::uint64_t size = codec_->encode(tile(row), encoded.data());
    request_ahead(row, 1);
    packing::fill_slot(slots.data() + num_slots++ * stride, stride, Bytes(encoded).first(size), size == row_bytes,
                       written + tails.size());
    if (const std::uint64_t tail_bytes = packing::tail_bytes_for(size, stride); tail_bytes > 0) {
      const auto tail = Bytes(encoded).first(size).last(tail_bytes);
      tails.insert(tails.end(), tail.begin(), tail.end());
    }
    if (num_slots == rows_per_flush || tails.size() >= kFlushBytes) STILLBIT_CHECK(flush(row + 1));
    request_ahead(row, 2);
  }
  STILLBIT_CHECK(flush(end));
  return written == chunks_[chunk + 1].overflow_offset ? Result<void>() : source_changed();
}

}  // namespace stillbit
