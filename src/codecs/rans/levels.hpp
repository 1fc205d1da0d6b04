#pragma once

#include "codecs/rans/layout.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace stillbit::rans {

/// The indices of a sample's words, and where levels may change.
struct SampledIndices {
  std::span<const std::uint8_t> indices;  ///< of whole tiles
  std::uint64_t num_columns = 0;          ///< of a tile
  std::uint64_t period = 1;               ///< after so many columns they repeat
  std::uint32_t num_indices = 0;          ///< with the escape's, the last
};

/// Symbols counted for each table: kMaxSymbols for each.
using TableCounts = std::vector<double>;

/// Levels for segments and columns: symbols are coded with the table whose number is the sum of the two.
struct Levels {
  unsigned num_segment_levels = 1;
  unsigned num_column_levels = 1;
  std::uint64_t segment_columns = 0;     ///< 0 where segments have one level
  std::vector<std::uint8_t> of_segment;  ///< of all tiles' segments
  std::vector<std::uint8_t> of_column;   ///< of a period; empty where columns have one level

  [[nodiscard]] unsigned num_tables() const { return num_segment_levels + num_column_levels - 1; }
};

/// First levels: by the means of indices, which of floats are about the logarithms of their sizes. `num_tables` says
/// how many tables there may be; segments and columns get their shares of levels by how far their means are apart.
[[nodiscard]] Levels first_levels(const SampledIndices& sampled, std::uint64_t segment_columns, bool by_column,
                                  unsigned num_tables);

[[nodiscard]] TableCounts count(const SampledIndices& sampled, const Levels& levels);

/// Gives segments the levels that make their code shortest with tables that have such counts.
void assign_segments(const SampledIndices& sampled, const TableCounts& counts, Levels& levels);

/// Gives segments, and then columns, the levels that make their code shortest, with tables as they are counted; as
/// k-means does, `num_rounds` times.
void refine(const SampledIndices& sampled, Levels& levels, unsigned num_rounds);

}  // namespace stillbit::rans
