#pragma once

#include "published/rows.hpp"

#include <optional>
#include <vector>

namespace stillbit::published {

/// Rows of a table: all of them, or those of a cluster.
struct RowSet {
  const std::byte* bytes = nullptr;
  Layout layout;
  std::uint64_t count = 0;
  const std::uint64_t* order = nullptr;  ///< their numbers; none: 0, 1, 2 …

  [[nodiscard]] const std::byte* row(std::uint64_t i) const {
    return bytes + (order == nullptr ? i : order[i]) * layout.row_bytes;
  }
};

/// The masks of one threshold.
struct Candidate {
  double threshold = 0;
  std::vector<std::byte> mask;
  std::vector<std::byte> value;
  std::uint64_t stored_bytes = 0;  ///< of the rows, with these masks
};

/// Whether a threshold is one.
Result<void> check_threshold(std::optional<double> threshold);

/// The masks of the threshold, or of each threshold of the sweep, priced on all rows of the set.
Result<std::vector<Candidate>> priced_candidates(const RowSet& rows, std::optional<double> threshold,
                                                 unsigned num_threads);

/// The cheapest candidate; the first of several.
const Candidate& cheapest(const std::vector<Candidate>& candidates);

}  // namespace stillbit::published
