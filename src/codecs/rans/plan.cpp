#include "codecs/rans/levels.hpp"
#include "codecs/rans/rans.hpp"
#include "codecs/rans/split.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

namespace stillbit::rans {
namespace {

/// Levels are found on at most this much of the sample; tables are counted on all of it.
constexpr std::uint64_t kMaxSearchedBytes = std::uint64_t{512} << 10;

/// Splits that levels are tried on: several tables may ask for one bit less than one table does.
constexpr std::size_t kMaxSplits = 2;

/// Segments have at least so many columns: below that, what the level takes is more than it saves.
constexpr std::uint64_t kMinSegmentColumns = 16;

/// Where the sample is not the tensor, columns have levels if so many of each were seen: what fewer say of a column is
/// by chance.
constexpr std::uint64_t kMinSampledRows = 64;

/// How columns may be given levels.
constexpr unsigned kFirstTables = 8;
constexpr unsigned kOtherTables[] = {4, kMaxTables};
constexpr unsigned kSearchRounds = 1;
constexpr unsigned kFinalRounds = 3;

/// Frequencies of a table, with an escape for what is not worth its place, and the bits that all of it takes.
struct Table {
  Frequencies frequencies;
  double bits = 0;
};

/// Makes a table of counts, of which the last is the escape's where there is one.
Table fit(std::span<const double> counts, bool has_escapes, double escape_bits, unsigned scale_bits,
          double tensor_per_sample) {
  std::vector<double> kept(counts.begin(), counts.end());
  double total = 0;
  for (const double count : counts) total += count;
  Table table;
  if (total == 0) {
    // A table that nothing was coded with: anything, so that it exists.
    kept.back() = 1;
  } else if (has_escapes) {
    // A rare symbol takes a slot that others could have: more than its share, and a few bits in the plan.
    double& escapes = kept.back();
    const double share = total / std::exp2(scale_bits);
    for (std::size_t i = 0; i + 1 < kept.size(); ++i) {
      constexpr double kBitsPerNat = 1.4427;
      constexpr double kEntryBits = 4;
      if (kept[i] >= share || kept[i] * escape_bits >= kBitsPerNat * (share - kept[i]) + kEntryBits / tensor_per_sample)
        continue;
      escapes += kept[i];
      table.bits += tensor_per_sample * kept[i] * escape_bits;
      kept[i] = 0;
    }
    escapes = std::max(escapes, 0.25);
  }
  table.frequencies = normalized(kept, scale_bits);
  table.bits += tensor_per_sample * coded_bits(kept, table.frequencies, scale_bits) +
                static_cast<double>(stored_bits(table.frequencies));
  return table;
}

/// A plan, and the bits that the tensor takes with it by what was looked at.
struct Priced {
  std::optional<Plan> plan;
  double bits = 0;
};

class Planner {
 public:
  Planner(const PlanInput& input, unsigned view_bytes)
      : input_(input), words_(take_words(input, view_bytes, kMaxSearchedBytes)) {
    if (input.period_bytes % view_bytes == 0) period_ = input.period_bytes / view_bytes;
    if (words_.num_columns % period_ != 0) period_ = 1;
  }

  [[nodiscard]] Priced best() const {
    Priced best;
    const std::vector<Split> splits = cheapest_splits(words_);
    if (splits.empty()) return best;
    std::vector<Split> tried{splits.front()};
    for (const Split& split : splits) {
      if (tried.size() < kMaxSplits && split.sign_bits == splits.front().sign_bits &&
          split.symbol_bits + 1 == splits.front().symbol_bits)
        tried.push_back(split);
    }
    for (const Split& split : tried) {
      Priced found = best_of(split);
      if (!best.plan || found.bits < best.bits) best = std::move(found);
    }
    return best;
  }

 private:
  [[nodiscard]] SampledIndices sampled(std::span<const std::uint8_t> indices, const Split& split) const {
    return {indices, words_.num_columns, period_, split.num_symbols + 1};
  }

  /// The best levels for a split, and the plan that follows from them.
  [[nodiscard]] Priced best_of(const Split& split) const {
    const std::vector<std::uint8_t> indices = indices_of(words_, split);
    const SampledIndices searched = sampled(indices, split);
    Levels best;
    double best_bits = price(split, searched, best).bits;
    const auto consider = [&](std::uint64_t segment_columns, bool by_column, unsigned num_tables) {
      Levels levels = first_levels(searched, segment_columns, by_column, num_tables);
      if (levels.num_tables() == 1) return false;
      refine(searched, levels, kSearchRounds);
      const double bits = price(split, searched, levels).bits;
      if (bits >= best_bits) return false;
      best_bits = bits;
      best = std::move(levels);
      return true;
    };
    struct Kind {
      std::uint64_t segment_columns;
      bool by_column;
    };
    std::optional<Kind> kind;
    std::vector<std::uint64_t> segments = segment_lengths();
    segments.push_back(0);
    for (const bool by_column : {false, true}) {
      if (by_column && !can_have_column_levels()) continue;
      for (const std::uint64_t segment_columns : segments) {
        if (segment_columns == 0 && !by_column) continue;
        if (consider(segment_columns, by_column, kFirstTables)) kind = Kind{segment_columns, by_column};
      }
    }
    if (kind) {
      for (const unsigned num_tables : kOtherTables) consider(kind->segment_columns, kind->by_column, num_tables);
      refine(searched, best, kFinalRounds);
    }
    return finished(split, searched, std::move(best));
  }

  /// Lengths of segments that are worth a try: rows of the tensor, several where they are short.
  [[nodiscard]] std::vector<std::uint64_t> segment_lengths() const {
    std::vector<std::uint64_t> lengths;
    const auto add = [&](std::uint64_t length) {
      if (length >= kMinSegmentColumns && length <= words_.num_columns &&
          std::find(lengths.begin(), lengths.end(), length) == lengths.end())
        lengths.push_back(length);
    };
    add(period_ * ceil_div(kMinSegmentColumns, period_));
    add(period_ * ceil_div(4 * kMinSegmentColumns, period_));
    if (period_ == 1) add(16 * kMinSegmentColumns);
    return lengths;
  }

  [[nodiscard]] bool can_have_column_levels() const {
    const std::uint64_t num_rows = words_.tops.size() / period_;
    return period_ > 1 && (input_.is_whole ? num_rows > 1 : num_rows >= kMinSampledRows);
  }

  /// The tables for such levels and a scale, the rows' levels and escapes, and the plan.
  [[nodiscard]] Priced price(const Split& split, const SampledIndices& searched, const Levels& levels) const {
    const TableCounts counts = count(searched, levels);
    Priced best;
    for (const bool has_escapes : {false, true}) {
      // Only the whole tensor shows that there are no other symbols.
      if (!has_escapes && (!is_whole() || has_missing(counts, split))) continue;
      Priced found = price(split, searched, levels, counts, has_escapes, kSearchScaleBits);
      if (!best.plan || found.bits < best.bits) best = std::move(found);
    }
    return best;
  }

  [[nodiscard]] static bool has_missing(const TableCounts& counts, const Split& split) {
    for (std::size_t at = split.num_symbols; at < counts.size(); at += kMaxSymbols) {
      if (counts[at] > 0) return true;
    }
    return false;
  }

  [[nodiscard]] bool is_whole() const { return input_.is_whole && words_.tops.size() == num_words_of_sample(); }
  [[nodiscard]] std::uint64_t num_words_of_sample() const { return input_.sample.size() / words_.view_bytes; }

  [[nodiscard]] Priced price(const Split& split, const SampledIndices& searched, const Levels& levels,
                             const TableCounts& counts, bool has_escapes, unsigned scale_bits) const {
    const std::uint64_t num_words = input_.geometry.num_bytes() / words_.view_bytes;
    const double tensor_per_sample = static_cast<double>(num_words) / static_cast<double>(searched.indices.size());
    Priced priced;
    Plan& plan = priced.plan.emplace();
    plan.row_bytes = input_.geometry.row_bytes;
    plan.view_bytes = words_.view_bytes;
    plan.sign_bits = split.sign_bits;
    plan.symbol_bits = split.symbol_bits;
    plan.dropped_bits = split.dropped_bits;
    plan.scale_bits = scale_bits;
    plan.has_escapes = has_escapes;
    plan.num_segment_levels = levels.num_segment_levels;
    plan.num_column_levels = levels.num_column_levels;
    plan.runs = split.runs;
    plan.segment_columns = static_cast<std::uint32_t>(levels.segment_columns);
    plan.column_levels = levels.of_column;
    const std::size_t num_indices = split.num_symbols + (has_escapes ? 1U : 0U);
    for (unsigned i = 0; i < levels.num_tables(); ++i) {
      Table table = fit(std::span(counts).subspan(std::size_t{i} * kMaxSymbols, num_indices), has_escapes,
                        8 * plan.symbol_size(), scale_bits, tensor_per_sample);
      priced.bits += table.bits;
      plan.frequencies.push_back(std::move(table.frequencies));
    }
    const auto num_rows = static_cast<double>(input_.geometry.num_rows);
    priced.bits += tensor_per_sample * static_cast<double>(searched.indices.size()) * plan.fixed_bits();
    priced.bits += num_rows * static_cast<double>(plan.num_segments() * plan.level_bits() + (has_escapes ? 16 : 0));
    priced.bits += 4.0 * static_cast<double>(plan.column_levels.size());
    return priced;
  }

  /// The plan with the scale that serves best, and with tables counted on the whole sample.
  [[nodiscard]] Priced finished(const Split& split, const SampledIndices& searched, Levels levels) const {
    std::vector<std::uint8_t> all_indices;
    SampledIndices all = searched;
    if (searched.indices.size() < num_words_of_sample()) {
      all_indices = indices_of(take_words(input_, words_.view_bytes, input_.sample.size()), split);
      all = sampled(all_indices, split);
      spread(all, searched, levels);
    }
    const TableCounts counts = count(all, levels);
    Priced best;
    for (const bool has_escapes : {false, true}) {
      if (!has_escapes && (!input_.is_whole || has_missing(counts, split))) continue;
      for (unsigned scale_bits = kMinFinalScaleBits; scale_bits <= kMaxScaleBits; ++scale_bits) {
        Priced found = price(split, all, levels, counts, has_escapes, scale_bits);
        if (!best.plan || found.bits < best.bits) best = std::move(found);
      }
    }
    return best;
  }

  /// Gives all segments the levels that a part of them was searched for.
  static void spread(const SampledIndices& all, const SampledIndices& searched, Levels& levels) {
    if (levels.of_segment.empty()) return;
    const TableCounts counts = count(searched, levels);
    const std::uint64_t segments_of_tile = ceil_div(all.num_columns, levels.segment_columns);
    levels.of_segment.assign(all.indices.size() / all.num_columns * segments_of_tile, 0);
    assign_segments(all, counts, levels);
  }

  static constexpr unsigned kSearchScaleBits = 11;
  static constexpr unsigned kMinFinalScaleBits = 9;

  const PlanInput& input_;
  SampledWords words_;
  std::uint64_t period_ = 1;
};

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes || input.sample.empty()) return nullptr;
  Priced best;
  // Numbers of 8 bytes may be pairs: of complex ones, for instance.
  for (const unsigned view_bytes : {input.element_bytes, input.element_bytes / 2}) {
    if (view_bytes == 0 || row_bytes % view_bytes != 0 || (view_bytes != input.element_bytes && view_bytes != 4))
      continue;
    Priced found = Planner(input, view_bytes).best();
    if (found.plan && (!best.plan || found.bits < best.bits)) best = std::move(found);
  }
  if (!best.plan || minimum_row_bytes(*best.plan) >= row_bytes) return nullptr;
  if (best.bits >= 8 * static_cast<double>(input.geometry.num_bytes())) return nullptr;
  return make(*best.plan);
}

}  // namespace stillbit::rans
