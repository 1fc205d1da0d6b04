#include "api/encoder.hpp"

#include "api/registry.hpp"
#include "codecs/raw/raw.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"
#include "packings/slot.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <tuple>
#include <utility>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

/// Raw bytes of a chunk, as many as a piece of the checksum has: enough to outweigh handing it out, few enough to stay
/// in the caches between two steps.
constexpr std::uint64_t kChunkBytes = kChecksumPieceBytes;

/// Encoded rows are handed to the sink in pieces of about this size.
constexpr std::uint64_t kFlushBytes = std::uint64_t{64} << 10;

/// How far ahead of the tile that is encoded memory is requested: a tile is gone over several times, which the
/// machine's own prefetching does not see through.
constexpr std::uint64_t kAheadBytes = 8192;

/// Longer rows are counted word by word, not column by column: the counts take 64 bytes for each byte of a row.
constexpr std::uint64_t kMaxCountedRowBytes = 65536;

/// Rows shorter than this are encoded in tiles of about this size, where they are packed. At 1024 bytes what ends a
/// tile (half a byte for each of its planes, and its bits in the index) costs less than 0.5 %. Where rows differ in
/// scale smaller tiles may still be better.
constexpr std::uint64_t kShortTileBytes = 1024;
constexpr std::uint64_t kSmallTileBytes = 512;

/// Rows too long to be counted column by column are encoded in tiles of this size, where they are packed.
constexpr std::uint64_t kLongTileBytes = 4096;

/// Codecs do not look at rows longer than this.
constexpr std::uint64_t kMaxSampledRowBytes = std::uint64_t{16} << 20;

/// From this share of repeats in a sample on all rows are searched for them.
constexpr double kWorthwhileRepeats = 1.0 / 32;

Fault source_changed() {
  return {ErrorCode::kIo, "the tensor changed while it was compressed"};
}

/// What statistics count as a row. Where it is not a row, rows are made of whole ones of it.
std::uint64_t counted_bytes(const RowGeometry& geometry, unsigned element_bytes) {
  if (geometry.row_bytes <= kMaxCountedRowBytes) return geometry.row_bytes;
  return geometry.row_bytes % 8 == 0 ? 8 : element_bytes;
}

/// Whole short rows of `wanted_bytes` together, or parts of long ones; rows where they have slots.
std::uint64_t choose_tile_bytes(const RowGeometry& geometry, Packing packing, std::uint64_t wanted_bytes) {
  if (packing == Packing::kSlotted) return geometry.row_bytes;
  if (geometry.row_bytes > kMaxCountedRowBytes) return kLongTileBytes;
  const std::uint64_t num_rows = std::min(ceil_div(wanted_bytes, geometry.row_bytes), geometry.num_rows);
  return num_rows * geometry.row_bytes;
}

/// The last tile, filled up where the tensor ends within it: a tile of rows with rows, a part of a row with elements.
std::vector<std::byte> filled_last_tile(Bytes data, const format::PayloadHeader& header) {
  const std::uint64_t tile_bytes = header.tile_bytes;
  const std::uint64_t missing = header.tiles().num_bytes() - data.size();
  if (missing == 0) return {};
  const Bytes last = data.last(tile_bytes - missing);
  std::vector<std::byte> tile(last.begin(), last.end());
  const bool has_rows = tile_bytes > header.geometry.row_bytes;
  const Bytes filling = data.last(has_rows ? header.geometry.row_bytes : num_bytes(header.dtype));
  while (tile.size() < tile_bytes) tile.insert(tile.end(), filling.begin(), filling.end());
  return tile;
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
  const format::PayloadHeader described = encoder.header_;
  encoder.store_raw(described);
  if (options.codec != Codec::kRaw && described.geometry.num_bytes() > 0) STILLBIT_CHECK(encoder.plan());
  STILLBIT_CHECK(encoder.measure());
  const std::uint64_t data_checksum = encoder.header_.data_checksum;
  if (layout_of(encoder.header_).payload_bytes > layout_of(planner::price_raw(described).header).payload_bytes) {
    // The sample promised too much.
    encoder.repeats_ = {};
    encoder.store_raw(described);
    encoder.header_.data_checksum = data_checksum;
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
  header_.tile_bytes = header_.geometry.row_bytes;
  return {};
}

void Encoder::store_raw(const format::PayloadHeader& header) {
  header_ = planner::price_raw(header).header;
  codec_ = raw::make(header.geometry.row_bytes);
}

std::uint64_t Encoder::max_priced_bytes() const noexcept {
  // To price a codec takes far less time than to make its plan.
  constexpr std::uint64_t kPricedForPlanned = 4;
  return kPricedForPlanned * std::min<std::uint64_t>(options_.max_sample_bytes, source_.data.size());
}

Encoder::Arrangement Encoder::arrange_tiles(std::uint64_t wanted_bytes) const {
  Arrangement result;
  result.header = header_;
  result.header.tile_bytes = choose_tile_bytes(header_.geometry, options_.packing, wanted_bytes);
  const std::uint64_t tile_bytes = result.header.tile_bytes;
  result.last_tile = filled_last_tile(source_.data, result.header);
  const Bytes whole_tiles = source_.data.first(source_.data.size() / tile_bytes * tile_bytes);
  result.sample = planner::take_sample(whole_tiles, tile_bytes, max_priced_bytes(), result.copied);
  if (!result.last_tile.empty() && result.copied.empty()) {
    result.copied.assign(result.sample.begin(), result.sample.end());
    result.copied.insert(result.copied.end(), result.last_tile.begin(), result.last_tile.end());
    result.sample = result.copied;
  }
  return result;
}

std::optional<Encoder::Arrangement> Encoder::arrange_repeats() const {
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  if (options_.packing != Packing::kPacked || row_bytes > kMaxCountedRowBytes) return std::nullopt;
  std::vector<std::byte> copied;
  const Bytes sample = planner::take_sample(source_.data, row_bytes, options_.max_sample_bytes, copied);
  if (planner::share_of_repeats(sample, row_bytes) < kWorthwhileRepeats) return std::nullopt;
  Arrangement result;
  result.header = header_;
  result.repeats = planner::find_repeats(source_.data, row_bytes, num_threads_);
  result.header.num_repeats = header_.geometry.num_rows - result.repeats.stored_rows.size();
  result.sample =
      planner::take_sample(source_.data, row_bytes, result.repeats.stored_rows, max_priced_bytes(), result.copied);
  return result;
}

void Encoder::consider(Arrangement& arrangement, std::span<const planner::Candidate> candidates,
                       const BitStatistics* counted) const {
  const RowGeometry tiles = arrangement.header.stored_tiles();
  if (tiles.row_bytes > kMaxSampledRowBytes) return;
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  const unsigned element_bytes = num_bytes(header_.dtype);
  std::optional<BitStatistics> sampled;
  if (counted == nullptr) {
    counted = &sampled.emplace(counted_bytes(header_.geometry, element_bytes));
    sampled->add(arrangement.sample);
  }
  const std::uint64_t period_bytes = tiles.row_bytes % row_bytes == 0 ? row_bytes : element_bytes;
  std::vector<std::byte> copied;
  const Bytes sample = planner::take_sample(arrangement.sample, tiles.row_bytes, options_.max_sample_bytes, copied);
  const bool is_whole = sample.size() == tiles.num_bytes();
  const PlanInput input{tiles, element_bytes, period_bytes, *counted, sample, is_whole};
  auto options = planner::plan_all(input, arrangement.sample, arrangement.header, candidates);
  std::move(options.begin(), options.end(), std::back_inserter(arrangement.options));
}

Result<void> Encoder::plan() {
  std::vector<planner::Candidate> candidates;
  for (const CodecEntry& entry : all_codecs()) {
    const bool is_wanted = !options_.codec || *options_.codec == entry.codec;
    if (is_wanted && entry.codec != Codec::kRaw) candidates.push_back({entry.plan, entry.decode_cost});
  }
  if (candidates.empty()) return invalid("the codec asked for is unknown");

  std::vector<Arrangement> arrangements;
  arrangements.push_back(arrange_tiles(kShortTileBytes));
  if (auto repeats = arrange_repeats()) arrangements.push_back(std::move(*repeats));
  for (Arrangement& arrangement : arrangements) consider(arrangement, candidates, nullptr);
  if (const auto found = cheapest_of(arrangements); found.second == arrangements.data()) {
    Arrangement smaller = arrange_tiles(kSmallTileBytes);
    const CodecEntry* entry = find_codec(found.first->codec->codec());
    if (smaller.header.tile_bytes != arrangements[0].header.tile_bytes) {
      consider(smaller, std::vector{planner::Candidate{entry->plan, entry->decode_cost}}, nullptr);
      arrangements.push_back(std::move(smaller));
    }
  }

  // Which bits never deviate only all rows can say: where the codec that asks for it seems best, they are counted.
  auto [best, in] = cheapest_of(arrangements);
  if (best != nullptr && best->codec->codec() == Codec::kIbp && !in->is_whole()) {
    STILLBIT_TRY(const BitStatistics statistics, count());
    std::erase_if(in->options, [](const planner::Option& option) { return option.codec->codec() == Codec::kIbp; });
    const CodecEntry* ibp = find_codec(Codec::kIbp);
    consider(*in, std::vector{planner::Candidate{ibp->plan, ibp->decode_cost}}, &statistics);
    std::tie(best, in) = cheapest_of(arrangements);
  }
  note_prices(arrangements);
  adopt(best, in, arrangements);
  return {};
}

std::pair<planner::Option*, Encoder::Arrangement*> Encoder::cheapest_of(std::vector<Arrangement>& arrangements) const {
  std::pair<planner::Option*, Arrangement*> best{nullptr, nullptr};
  for (Arrangement& arrangement : arrangements) {
    planner::Option* option = planner::cheapest(arrangement.options, options_.objective);
    const auto cost_of = [&](const planner::Option& of) {
      return planner::cost(of.priced, of.decode_cost, options_.objective);
    };
    if (option != nullptr && (best.first == nullptr || cost_of(*option) < cost_of(*best.first)))
      best = {option, &arrangement};
  }
  return best;
}

void Encoder::note_prices(const std::vector<Arrangement>& arrangements) {
  std::vector<double> costs;
  const auto note = [&](Codec codec, const planner::Priced& priced, double decode_cost) {
    const double cost = planner::cost(priced, decode_cost, options_.objective);
    const auto known = std::find_if(prices_.begin(), prices_.end(), [&](const auto& p) { return p.codec == codec; });
    const auto i = static_cast<std::size_t>(known - prices_.begin());
    if (known == prices_.end()) {
      prices_.push_back({codec, priced.stored_bytes()});
      costs.push_back(cost);
    } else if (cost < costs[i]) {
      *known = {codec, priced.stored_bytes()};
      costs[i] = cost;
    }
  };
  for (const Arrangement& arrangement : arrangements) {
    note(Codec::kRaw, planner::price_raw(arrangement.header), find_codec(Codec::kRaw)->decode_cost);
    for (const planner::Option& option : arrangement.options)
      note(option.codec->codec(), option.priced, option.decode_cost);
  }
}

void Encoder::adopt(planner::Option* best, Arrangement* in, std::vector<Arrangement>& arrangements) {
  // Rows as they are, perhaps but for repeats, are the alternative: to a codec that was asked for only where it does
  // not make the tensor smaller.
  const double raw_cost = find_codec(Codec::kRaw)->decode_cost;
  const auto raw_cost_of = [&](const Arrangement& arrangement, Objective objective) {
    return planner::cost(planner::price_raw(arrangement.header), raw_cost, objective);
  };
  const auto raw_in = std::min_element(arrangements.begin(), arrangements.end(), [&](const auto& a, const auto& b) {
    return raw_cost_of(a, options_.objective) < raw_cost_of(b, options_.objective);
  });
  const Objective objective = options_.codec ? Objective::kStorage : options_.objective;
  if (best == nullptr || raw_cost_of(*raw_in, objective) <= planner::cost(best->priced, best->decode_cost, objective)) {
    repeats_ = std::move(raw_in->repeats);
    return store_raw(raw_in->header);
  }
  repeats_ = std::move(in->repeats);
  header_ = best->priced.header;
  codec_ = std::move(best->codec);
  last_tile_ = std::move(in->last_tile);
}

Result<BitStatistics> Encoder::count() const {
  const Bytes data = source_.data;
  BitStatistics statistics(counted_bytes(header_.geometry, num_bytes(source_.dtype)));
  std::vector<std::optional<BitStatistics>> counts(num_threads_);
  // Rows do not end where chunks do: those that start in one are counted with it, in whole laps.
  const std::uint64_t lap = statistics.lap_bytes();
  STILLBIT_CHECK(cpu::parallel_for(
      ceil_div(data.size(), kChunkBytes), num_threads_, [&](std::uint64_t chunk, unsigned worker) -> Result<void> {
        if (!counts[worker]) counts[worker].emplace(statistics.row_bytes());
        const std::uint64_t begin = chunk * kChunkBytes;
        const std::uint64_t end = std::min<std::uint64_t>(begin + kChunkBytes, data.size());
        const std::uint64_t first = ceil_div(begin, lap) * lap;
        const std::uint64_t last = std::min<std::uint64_t>(ceil_div(end, lap) * lap, data.size());
        if (first < last) counts[worker]->add(data.subspan(first, last - first));
        done(begin, end - begin);
        return {};
      }));
  for (const auto& count : counts) {
    if (count) statistics.merge(*count);
  }
  return statistics;
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

void Encoder::request_ahead(std::uint64_t i) const noexcept {
  constexpr std::uint64_t kLineBytes = 64;
  const std::uint64_t begin = tile_offset(i) + kAheadBytes;
  const std::uint64_t end = std::min<std::uint64_t>(source_.data.size(), begin + header_.tile_bytes);
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

Result<void> Encoder::measure() {
  const Bytes data = source_.data;
  const bool has_sizes = header_.codec != Codec::kRaw || header_.num_repeats > 0;
  if (has_sizes) chunks_.assign(num_chunks() + 1, {});
  const std::uint64_t num_pieces = ceil_div(data.size(), kChecksumPieceBytes);
  Checksum checksum;
  packing::PackedSizes all;
  std::mutex mutex;
  STILLBIT_CHECK(cpu::parallel_for(
      std::max(num_pieces, has_sizes ? num_chunks() : 0), num_threads_, [&](std::uint64_t i, unsigned) -> Result<void> {
        if (has_sizes && i < num_chunks()) {
          const packing::PackedSizes sizes = measure_chunk(i);
          const std::lock_guard lock(mutex);
          all.num_bytes += sizes.num_bytes;
          all.largest_delta = std::max(all.largest_delta, sizes.largest_delta);
        }
        if (i >= num_pieces) return {};
        const std::uint64_t begin = i * kChecksumPieceBytes;
        const std::uint64_t count = std::min<std::uint64_t>(kChecksumPieceBytes, data.size() - begin);
        checksum.add(i, cpu::digest(data.subspan(begin, count)));
        done(begin, count);
        return {};
      }));
  header_.data_checksum = checksum.value();
  if (!has_sizes) return {};
  for (std::size_t i = 1; i < chunks_.size(); ++i) {
    chunks_[i].rows_offset += chunks_[i - 1].rows_offset;
    chunks_[i].overflow_offset += chunks_[i - 1].overflow_offset;
  }
  if (header_.packing == Packing::kPacked) {
    all.describe(header_, codec_->minimum_row_bytes());
  } else {
    header_.overflow_bytes = chunks_.back().overflow_offset;
  }
  return {};
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
    request_ahead(row);
    filled += codec_->encode(tile(row), encoded.data() + filled);
    if (filled >= kFlushBytes) STILLBIT_CHECK(flush());
  }
  STILLBIT_CHECK(flush());
  if (written != chunks_[chunk + 1].rows_offset) return source_changed();
  return sink.write(Section::kIndex, first / kIndexBlockTiles * entry_bytes, index);
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
    STILLBIT_CHECK(sink.write(Section::kRows, (next_row - num_slots) * stride, Bytes(slots).first(num_slots * stride)));
    STILLBIT_CHECK(sink.write(Section::kOverflow, written, tails));
    written += tails.size();
    tails.clear();
    num_slots = 0;
    return {};
  };
  for (std::uint64_t row = first; row < end; ++row) {
    request_ahead(row);
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
