#pragma once

#include "core/bytes.hpp"
#include "format/payload.hpp"

#include <stillbit/analysis.hpp>
#include <stillbit/statistics.hpp>

#include <vector>

namespace stillbit::analysis {

/// Counts bits for Invariance, tile by tile.
class InvarianceCounts {
 public:
  InvarianceCounts(const format::PayloadHeader& header, std::uint64_t max_parts);

  /// Adds a tile, as far as it is part of the tensor.
  void add(std::uint64_t tile, Bytes bytes);

  [[nodiscard]] Invariance result();

 private:
  void add_to_stretches(std::uint64_t tile, Bytes bytes);
  void add_pending();
  [[nodiscard]] Invariance by_column() const;
  [[nodiscard]] Invariance by_stretch() const;

  std::uint64_t tile_bytes_;
  unsigned element_bytes_;
  bool is_by_stretch_;
  std::uint64_t num_columns_;
  std::uint64_t columns_per_part_;
  std::uint64_t num_parts_;
  std::vector<std::byte> pending_;     ///< rows that were not counted yet: many are counted faster than one by one
  std::vector<BitStatistics> counts_;  ///< of rows, or of the elements of each stretch
};

}  // namespace stillbit::analysis
