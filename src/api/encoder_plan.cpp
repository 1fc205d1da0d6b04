// The part of the encoder that plans: how tiles are cut, whether repeats are stored, and which codec they get.

#include "api/encoder.hpp"
#include "api/registry.hpp"
#include "core/checked.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"
#include "statistics/count_rows.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace stillbit {
namespace {

/// Rows shorter than this are encoded in tiles of about this size, where they are packed. At 2048 bytes what a tile
/// has beside its words (counts, half a byte for each of its planes, and its bits in the index) costs less than 0.5 %.
/// Where rows differ in scale smaller tiles may still be better.
constexpr std::uint64_t kShortTileBytes = 2048;
constexpr std::uint64_t kSmallTileBytes = 512;

/// Rows too long to be counted column by column are encoded in tiles of this size, where they are packed.
constexpr std::uint64_t kLongTileBytes = 4096;

/// Codecs do not look at rows longer than this.
constexpr std::uint64_t kMaxSampledRowBytes = std::uint64_t{16} << 20;

/// Where the packing is left open, slots may cost so much more than the same rows back to back. Those are found by an
/// index, and cannot be rewritten: that is for rows whose sizes differ widely, most of all sparse ones.
constexpr double kMostForSlots = 1.06;

/// Less is not worth it: of a few rows the padding between sections alone makes such a difference.
constexpr std::uint64_t kLeastSavedBytes = 1024;

/// Shorter rows have slots: to find them takes much of the time that it takes to gather them.
constexpr std::uint64_t kLeastPackedRowBytes = 256;

/// From this share of repeats in a sample on all rows are searched for them.
constexpr double kWorthwhileRepeats = 1.0 / 32;

/// Whole short rows of up to `wanted_bytes` together, or of one more row, so that the last tile has as many or nearly;
/// parts of long rows; rows where they have slots.
std::uint64_t choose_tile_bytes(const RowGeometry& geometry, Packing packing, std::uint64_t wanted_bytes) {
  if (packing == Packing::kSlotted) return geometry.row_bytes;
  if (geometry.row_bytes > kMaxCountedRowBytes) return kLongTileBytes;
  const std::uint64_t most_rows = std::min(ceil_div(wanted_bytes, geometry.row_bytes), geometry.num_rows);
  const std::uint64_t num_tiles = most_rows == 0 ? 0 : ceil_div(geometry.num_rows, most_rows);
  return num_tiles == 0 ? 0 : ceil_div(geometry.num_rows, num_tiles) * geometry.row_bytes;
}

/// Tiles of codecs for bulk: what a tile begins and ends with, some 40 bytes, is then less than 0.1 % of it.
constexpr std::uint64_t kBulkTileBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kBulkTileOverhead = 40;

/// The largest tiles that leave little room in the last one, or that are many: whole rows, or parts of long ones, in
/// which whole words of `counted_bytes` are counted.
std::uint64_t choose_bulk_tile_bytes(const RowGeometry& geometry, std::uint64_t counted_bytes) {
  if (geometry.row_bytes > kBulkTileBytes) {
    const std::uint64_t num_tiles = ceil_div(geometry.num_bytes(), kBulkTileBytes);
    return align_up(ceil_div(geometry.num_bytes(), num_tiles), counted_bytes);
  }
  const std::uint64_t most = std::min(kBulkTileBytes / geometry.row_bytes, geometry.num_rows);
  std::uint64_t best = most;
  std::uint64_t best_bytes = ~std::uint64_t{0};
  for (std::uint64_t num_rows = most; num_rows > most / 2; --num_rows) {
    const std::uint64_t num_tiles = ceil_div(geometry.num_rows, num_rows);
    const std::uint64_t bytes = num_tiles * (num_rows * geometry.row_bytes + kBulkTileOverhead);
    if (bytes >= best_bytes) continue;
    best = num_rows;
    best_bytes = bytes;
  }
  return best * geometry.row_bytes;
}

double decode_cost(Codec codec, DType dtype) {
  return find_codec(codec)->decode_cost.of(num_bytes(dtype));
}

planner::Candidate candidate(const CodecEntry& entry, DType dtype) {
  return {entry.plan, decode_cost(entry.codec, dtype), entry.plans_last};
}

/// Room for the rows of a priced payload: samples are wrong by less, mostly.
std::uint64_t room_for(const format::PayloadHeader& header, bool is_exact) {
  constexpr std::uint64_t kErrorShare = 32;
  const bool is_known = is_exact || header.packing == Packing::kSlotted;
  const std::uint64_t margin = is_known ? 0 : header.rows_bytes / kErrorShare;
  return std::min(header.rows_bytes + margin, header.stored_tiles().num_bytes());
}

/// What finding repeats may take where memory is not to grow with the tensor.
constexpr std::uint64_t kMaxRepeatsBytes = std::uint64_t{512} << 20;

}  // namespace

std::uint64_t Encoder::max_priced_bytes() const noexcept {
  // To price a codec takes far less time than to make its plan.
  constexpr std::uint64_t kPricedForPlanned = 4;
  return kPricedForPlanned * std::min<std::uint64_t>(options_.max_sample_bytes, source_.data.size());
}

RowGeometry Encoder::source_rows() const noexcept {
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  return {source_.data.size() / row_bytes, row_bytes};
}

std::uint64_t Encoder::tile_bytes_for(std::uint64_t wanted_bytes) const {
  return choose_tile_bytes(source_rows(), header_.packing, wanted_bytes);
}

Encoder::Arrangement Encoder::arrange_tiles(std::uint64_t tile_bytes) const {
  Arrangement result;
  result.header = header_;
  result.header.tile_bytes = tile_bytes;
  if (all_ == nullptr) result.last_tile = filled_last_tile(source_.data, result.header);
  const Bytes whole_tiles = source_.data.first(source_.data.size() / tile_bytes * tile_bytes);
  result.sample = planner::take_sample(whole_tiles, tile_bytes, max_priced_bytes(), result.copied);
  if (!result.last_tile.empty() && result.copied.empty()) {
    result.copied.assign(result.sample.begin(), result.sample.end());
    result.copied.insert(result.copied.end(), result.last_tile.begin(), result.last_tile.end());
    result.sample = result.copied;
  }
  return result;
}

bool Encoder::can_find_repeats() const {
  const std::uint64_t needed_bytes = header_.geometry.num_rows * planner::kRepeatsBytesPerRow;
  return !source_.is_mapped || needed_bytes <= kMaxRepeatsBytes;
}

planner::Repeats Encoder::find_repeats() const {
  return planner::find_repeats(
      source_.data, header_.geometry.row_bytes, num_threads_,
      source_.is_mapped ? std::function<void(Bytes)>(io::release_pages) : std::function<void(Bytes)>());
}

std::optional<Encoder::Arrangement> Encoder::arrange_repeats() const {
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  const bool can_be_packed =
      header_.packing == Packing::kPacked || (!options_.packing && row_bytes >= kLeastPackedRowBytes);
  if (!can_be_packed || row_bytes > kMaxCountedRowBytes || all_ != nullptr) return std::nullopt;
  if (!can_find_repeats()) return std::nullopt;
  std::vector<std::byte> copied;
  const Bytes sample = planner::take_sample(source_.data, row_bytes, options_.max_sample_bytes, copied);
  if (planner::share_of_repeats(sample, row_bytes) < kWorthwhileRepeats) return std::nullopt;
  Arrangement result;
  result.header = header_;
  result.header.packing = Packing::kPacked;
  result.repeats = find_repeats();
  result.header.num_repeats = header_.geometry.num_rows - result.repeats.stored_rows.size();
  result.sample =
      planner::take_sample(source_.data, row_bytes, result.repeats.stored_rows, max_priced_bytes(), result.copied);
  return result;
}

Result<void> Encoder::consider(Arrangement& arrangement, std::span<const planner::Candidate> candidates,
                               const BitStatistics* counted) const {
  const RowGeometry tiles = arrangement.header.stored_tiles();
  if (tiles.row_bytes > kMaxSampledRowBytes) return {};
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  const unsigned element_bytes = num_bytes(header_.dtype);
  std::optional<BitStatistics> sampled;
  if (counted == nullptr) {
    counted = &sampled.emplace(counted_row_bytes(header_.dtype, row_bytes));
    sampled->add(arrangement.sample);
  }
  const std::uint64_t period_bytes = tiles.row_bytes % row_bytes == 0 ? row_bytes : element_bytes;
  std::vector<std::byte> copied;
  const Bytes sample = planner::take_sample(arrangement.sample, tiles.row_bytes, options_.max_sample_bytes, copied);
  const bool is_whole = sample.size() == tiles.num_bytes();
  const PlanInput input{tiles, element_bytes, period_bytes, *counted, sample, is_whole};
  const bool prices_both = !options_.packing && arrangement.header.packing == Packing::kSlotted;
  STILLBIT_TRY(auto options,
               planner::plan_all(input, arrangement.sample, arrangement.header, prices_both, candidates, num_threads_));
  std::move(options.begin(), options.end(), std::back_inserter(arrangement.options));
  return {};
}

Result<void> Encoder::plan() {
  std::vector<planner::Candidate> candidates;
  std::vector<planner::Candidate> for_bulk;
  for (const CodecEntry& entry : all_codecs()) {
    const bool is_wanted = options_.codec ? *options_.codec == entry.codec
                                          : !entry.is_for_bulk || options_.objective == Objective::kSmallest;
    if (!is_wanted || entry.codec == Codec::kRaw) continue;
    const bool has_own_tiles = entry.is_for_bulk && header_.packing == Packing::kPacked;
    (has_own_tiles ? for_bulk : candidates).push_back(candidate(entry, header_.dtype));
  }
  if (candidates.empty() && for_bulk.empty()) return invalid("the codec asked for is unknown");

  std::vector<Arrangement> arrangements;
  arrangements.push_back(arrange_tiles(tile_bytes_for(kShortTileBytes)));
  if (auto repeats = arrange_repeats()) arrangements.push_back(std::move(*repeats));
  const BitStatistics* given = all_ == nullptr ? nullptr : all_->statistics;
  for (Arrangement& arrangement : arrangements) STILLBIT_CHECK(consider(arrangement, candidates, given));
  if (!for_bulk.empty()) {
    if (arrangements.size() > 1) STILLBIT_CHECK(consider(arrangements.back(), for_bulk, given));
    arrangements.push_back(arrange_tiles(
        choose_bulk_tile_bytes(source_rows(), counted_row_bytes(header_.dtype, header_.geometry.row_bytes))));
    STILLBIT_CHECK(consider(arrangements.back(), for_bulk, given));
  }
  if (const auto found = cheapest_of(arrangements);
      found.second == arrangements.data() && tile_bytes_for(kSmallTileBytes) != tile_bytes_for(kShortTileBytes)) {
    Arrangement smaller = arrange_tiles(tile_bytes_for(kSmallTileBytes));
    const CodecEntry* entry = find_codec(found.first->codec->codec());
    STILLBIT_CHECK(consider(smaller, std::vector{candidate(*entry, header_.dtype)}, given));
    arrangements.push_back(std::move(smaller));
  }

  // Which bits never deviate only all rows can say: where the codec that asks for it seems best, they are counted.
  auto [best, in] = cheapest_of(arrangements);
  if (best != nullptr && best->codec->codec() == Codec::kIbp && !in->is_whole() && all_ == nullptr) {
    const BitStatistics statistics = count();
    std::erase_if(in->options, [](const planner::Option& option) { return option.codec->codec() == Codec::kIbp; });
    const CodecEntry* ibp = find_codec(Codec::kIbp);
    STILLBIT_CHECK(consider(*in, std::vector{candidate(*ibp, header_.dtype)}, &statistics));
    std::tie(best, in) = cheapest_of(arrangements);
  }
  if (!options_.packing) {
    choose_packing(arrangements);
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
    if (option == nullptr) continue;
    if (best.first == nullptr ||
        planner::rank(*option, options_.objective) < planner::rank(*best.first, options_.objective))
      best = {option, &arrangement};
  }
  return best;
}

void Encoder::choose_packing(std::vector<Arrangement>& arrangements) const {
  Arrangement& rows = arrangements.front();
  const auto bytes_of = [&](const format::PayloadHeader& header, std::vector<planner::Option>& options) {
    const std::uint64_t raw_bytes = planner::price_raw(header).stored_bytes();
    const planner::Option* const cheapest = planner::cheapest(options, options_.objective);
    return cheapest == nullptr ? raw_bytes : std::min(raw_bytes, cheapest->priced.stored_bytes());
  };
  const std::uint64_t slots_bytes = bytes_of(rows.header, rows.options);
  const auto costs_too_much = [&](std::uint64_t packed_bytes) {
    return slots_bytes >= packed_bytes + kLeastSavedBytes &&
           static_cast<double>(slots_bytes) > kMostForSlots * static_cast<double>(packed_bytes);
  };
  if (arrangements.size() > 1 && !costs_too_much(bytes_of(arrangements.back().header, arrangements.back().options)))
    arrangements.pop_back();
  std::vector<planner::Option> packed;
  for (const planner::Option& option : rows.options)
    if (option.back_to_back) packed.push_back({option.codec, *option.back_to_back, option.decode_cost});
  if (packed.empty() || rows.header.geometry.row_bytes < kLeastPackedRowBytes) return;
  if (!costs_too_much(planner::cheapest(packed, options_.objective)->priced.stored_bytes())) return;
  rows.header.packing = Packing::kPacked;
  rows.options = std::move(packed);
}

void Encoder::note_prices(const std::vector<Arrangement>& arrangements) {
  std::vector<planner::Rank> ranks;
  const auto note = [&](Codec codec, const planner::Priced& priced, double decode_cost) {
    const planner::Rank rank = planner::rank(priced, decode_cost, options_.objective);
    const auto known = std::find_if(prices_.begin(), prices_.end(), [&](const auto& p) { return p.codec == codec; });
    const auto i = static_cast<std::size_t>(known - prices_.begin());
    if (known == prices_.end()) {
      prices_.push_back({codec, priced.stored_bytes()});
      ranks.push_back(rank);
    } else if (rank < ranks[i]) {
      *known = {codec, priced.stored_bytes()};
      ranks[i] = rank;
    }
  };
  for (const Arrangement& arrangement : arrangements) {
    note(Codec::kRaw, planner::price_raw(arrangement.header), decode_cost(Codec::kRaw, header_.dtype));
    for (const planner::Option& option : arrangement.options)
      note(option.codec->codec(), option.priced, option.decode_cost);
  }
}

void Encoder::adopt(planner::Option* best, Arrangement* in, std::vector<Arrangement>& arrangements) {
  // Rows as they are, perhaps but for repeats, are the alternative: to a codec that was asked for only where it does
  // not make the tensor smaller.
  const double raw_cost = decode_cost(Codec::kRaw, header_.dtype);
  const auto raw_rank = [&](const Arrangement& arrangement, Objective objective) {
    return planner::rank(planner::price_raw(arrangement.header), raw_cost, objective);
  };
  const auto raw_in = std::min_element(arrangements.begin(), arrangements.end(), [&](const auto& a, const auto& b) {
    return raw_rank(a, options_.objective) < raw_rank(b, options_.objective);
  });
  const Objective objective = options_.codec ? Objective::kStorage : options_.objective;
  if (best == nullptr || raw_rank(*raw_in, objective) <= planner::rank(*best, objective)) {
    repeats_ = std::move(raw_in->repeats);
    return store_raw(raw_in->header);
  }
  repeats_ = std::move(in->repeats);
  rows_room_ = room_for(best->priced.header, in->is_whole());
  header_ = best->priced.header;
  codec_ = std::move(best->codec);
  last_tile_ = std::move(in->last_tile);
}

BitStatistics Encoder::count() const {
  BitStatistics statistics(counted_row_bytes(source_.dtype, header_.geometry.row_bytes));
  count_rows(source_.data, statistics, num_threads_,
             [&](std::uint64_t offset, std::uint64_t num_bytes) { done(offset, num_bytes); });
  return statistics;
}

}  // namespace stillbit
