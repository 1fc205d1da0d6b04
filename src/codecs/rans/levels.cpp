#include "codecs/rans/levels.hpp"

#include "core/checked.hpp"

#include <algorithm>
#include <cmath>

namespace stillbit::rans {
namespace {

/// A count that tables have of symbols that they were not seen to need: levels may still move there.
constexpr double kUnseen = 0.02;

/// Of an index, for a segment of each level, from a column's level on: as RowLayout::costs.
using LevelCosts = std::vector<float>;

LevelCosts costs_of(const SampledIndices& sampled, const TableCounts& counts, unsigned num_tables) {
  LevelCosts costs(std::size_t{kMaxSymbols} * kCostLevels);
  for (unsigned table = 0; table < num_tables; ++table) {
    const double* const of_table = counts.data() + std::size_t{table} * kMaxSymbols;
    double total = 0;
    for (std::uint32_t index = 0; index < sampled.num_indices; ++index) total += of_table[index] + kUnseen;
    for (std::uint32_t index = 0; index < sampled.num_indices; ++index)
      costs[std::size_t{index} * kCostLevels + table] =
          static_cast<float>(std::log2(total / (of_table[index] + kUnseen)));
  }
  return costs;
}

typedef float LevelSums __attribute__((vector_size(kMaxLevels * sizeof(float))));

/// Adds what an index costs with each of 16 tables, from `first_table` on.
void add_costs(const LevelCosts& costs, std::uint8_t index, unsigned first_table, LevelSums& sums) {
  LevelSums of_index;
  std::memcpy(&of_index, costs.data() + std::size_t{index} * kCostLevels + first_table, sizeof(of_index));
  sums += of_index;
}

std::uint8_t cheapest(const LevelSums& sums, unsigned num_levels) {
  unsigned best = 0;
  for (unsigned level = 1; level < num_levels; ++level) {
    if (sums[level] < sums[best]) best = level;
  }
  return static_cast<std::uint8_t>(best);
}

/// Calls take(first, count, segment, column) for each run of columns in one segment: `first` among all indices,
/// `column` among those of a period. Runs do not cross the end of a period, either.
template <class Take>
void for_each_run(const SampledIndices& sampled, const Levels& levels, const Take& take) {
  const std::uint64_t segment_columns = levels.segment_columns == 0 ? sampled.num_columns : levels.segment_columns;
  std::uint64_t segment = 0;
  for (std::uint64_t tile = 0; tile < sampled.indices.size(); tile += sampled.num_columns) {
    for (std::uint64_t first = 0; first < sampled.num_columns; first += segment_columns, ++segment) {
      const std::uint64_t end = std::min(first + segment_columns, sampled.num_columns);
      for (std::uint64_t at = first; at < end;) {
        const std::uint64_t column = at % sampled.period;
        const std::uint64_t count = std::min(end - at, sampled.period - column);
        take(tile + at, count, segment, column);
        at += count;
      }
    }
  }
}

/// Sums and counts, for means.
struct Mean {
  double sum = 0;
  double count = 0;
  [[nodiscard]] double value() const { return count > 0 ? sum / count : 0; }
};

/// Cuts the range of the means, but for their last 2 % on either side, into steps.
struct Steps {
  double low = 0;
  double range = 0;

  explicit Steps(const std::vector<Mean>& means) {
    std::vector<double> values;
    values.reserve(means.size());
    for (const Mean& mean : means) values.push_back(mean.value());
    std::sort(values.begin(), values.end());
    low = values[values.size() / 50];
    range = values[values.size() - 1 - values.size() / 50] - low;
  }

  [[nodiscard]] std::vector<std::uint8_t> levels(const std::vector<Mean>& means, unsigned num_levels) const {
    std::vector<std::uint8_t> result(means.size());
    for (std::size_t i = 0; i < means.size() && range > 0; ++i) {
      const double level = std::floor((means[i].value() - low) / range * num_levels);
      result[i] = static_cast<std::uint8_t>(std::clamp(level, 0.0, static_cast<double>(num_levels - 1)));
    }
    return result;
  }
};

/// What is below nearly all indices: a few zeros should not move a mean.
std::uint8_t low_index(const SampledIndices& sampled) {
  std::uint64_t counts[kMaxSymbols] = {};
  for (const std::uint8_t index : sampled.indices) ++counts[index];
  std::uint64_t below = 0;
  std::uint32_t index = 0;
  while ((below += counts[index]) * 50 < sampled.indices.size()) ++index;
  return static_cast<std::uint8_t>(index);
}

}  // namespace

Levels first_levels(const SampledIndices& sampled, std::uint64_t segment_columns, bool by_column, unsigned num_tables) {
  Levels levels;
  levels.segment_columns = segment_columns;
  const std::uint64_t num_tiles = sampled.indices.size() / sampled.num_columns;
  const std::uint64_t segments_of_tile = segment_columns == 0 ? 1 : ceil_div(sampled.num_columns, segment_columns);
  std::vector<Mean> of_segment(num_tiles * segments_of_tile);
  std::vector<Mean> of_column(sampled.period);
  const std::uint8_t low = low_index(sampled);
  for_each_run(sampled, levels,
               [&](std::uint64_t first, std::uint64_t count, std::uint64_t segment, std::uint64_t column) {
                 std::uint64_t sum = 0;
                 for (std::uint64_t i = 0; i < count; ++i) {
                   const std::uint8_t index = std::max(low, sampled.indices[first + i]);
                   sum += index;
                   of_column[column + i].sum += index;
                   of_column[column + i].count += 1;
                 }
                 of_segment[segment].sum += static_cast<double>(sum);
                 of_segment[segment].count += static_cast<double>(count);
               });

  const Steps segments(of_segment);
  const Steps columns(of_column);
  const double segment_range = segment_columns == 0 ? 0 : segments.range;
  const double column_range = by_column ? columns.range : 0;
  const double step = (segment_range + column_range) / num_tables;
  const auto share = [&](double range) {
    return step > 0 && range > 0 ? std::clamp(static_cast<unsigned>(std::lround(range / step)), 1U, num_tables) : 1U;
  };
  levels.num_segment_levels = share(segment_range);
  levels.num_column_levels = std::min(share(column_range), kMaxTables + 1 - levels.num_segment_levels);
  if (levels.num_segment_levels > 1) {
    levels.of_segment = segments.levels(of_segment, levels.num_segment_levels);
  } else {
    levels.segment_columns = 0;
  }
  if (levels.num_column_levels > 1) levels.of_column = columns.levels(of_column, levels.num_column_levels);
  return levels;
}

TableCounts count(const SampledIndices& sampled, const Levels& levels) {
  std::vector<std::uint32_t> counts(std::size_t{levels.num_tables()} * kMaxSymbols);
  for_each_run(sampled, levels,
               [&](std::uint64_t first, std::uint64_t count, std::uint64_t segment, std::uint64_t column) {
                 const std::size_t level = levels.of_segment.empty() ? 0 : levels.of_segment[segment];
                 for (std::uint64_t i = 0; i < count; ++i) {
                   const std::size_t table = level + (levels.of_column.empty() ? 0 : levels.of_column[column + i]);
                   ++counts[table * kMaxSymbols + sampled.indices[first + i]];
                 }
               });
  return {counts.begin(), counts.end()};
}

void assign_segments(const SampledIndices& sampled, const TableCounts& counts, Levels& levels) {
  const LevelCosts costs = costs_of(sampled, counts, levels.num_tables());
  std::vector<LevelSums> sums(levels.of_segment.size());
  for_each_run(sampled, levels,
               [&](std::uint64_t first, std::uint64_t count, std::uint64_t segment, std::uint64_t column) {
                 for (std::uint64_t i = 0; i < count; ++i)
                   add_costs(costs, sampled.indices[first + i],
                             levels.of_column.empty() ? 0 : levels.of_column[column + i], sums[segment]);
               });
  std::transform(sums.begin(), sums.end(), levels.of_segment.begin(),
                 [&](const LevelSums& of) { return cheapest(of, levels.num_segment_levels); });
}

namespace {

void assign_columns(const SampledIndices& sampled, const TableCounts& counts, Levels& levels) {
  const LevelCosts costs = costs_of(sampled, counts, levels.num_tables());
  std::vector<LevelSums> sums(levels.of_column.size());
  for_each_run(sampled, levels,
               [&](std::uint64_t first, std::uint64_t count, std::uint64_t segment, std::uint64_t column) {
                 const unsigned level = levels.of_segment.empty() ? 0 : levels.of_segment[segment];
                 for (std::uint64_t i = 0; i < count; ++i)
                   add_costs(costs, sampled.indices[first + i], level, sums[column + i]);
               });
  std::transform(sums.begin(), sums.end(), levels.of_column.begin(),
                 [&](const LevelSums& of) { return cheapest(of, levels.num_column_levels); });
}

}  // namespace

void refine(const SampledIndices& sampled, Levels& levels, unsigned num_rounds) {
  for (unsigned round = 0; round < num_rounds; ++round) {
    if (!levels.of_segment.empty()) assign_segments(sampled, count(sampled, levels), levels);
    if (!levels.of_column.empty()) assign_columns(sampled, count(sampled, levels), levels);
  }
}

}  // namespace stillbit::rans
