#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::planner {

/// Rows that are equal, bit for bit, to an earlier one.
struct Repeats {
  std::vector<std::uint64_t> stored_rows;  ///< the rows that repeat no earlier one, in order
  std::vector<std::uint64_t> map;          ///< for each row, which of these it is
};

/// The share of rows that repeat an earlier one. Precondition: row_bytes is above 0.
[[nodiscard]] double share_of_repeats(Bytes rows, std::uint64_t row_bytes);

/// Finds all repeats. Rows are found by a hash and compared byte by byte. Takes 32 bytes of memory for each row.
[[nodiscard]] Repeats find_repeats(Bytes rows, std::uint64_t row_bytes, unsigned num_threads);

}  // namespace stillbit::planner
