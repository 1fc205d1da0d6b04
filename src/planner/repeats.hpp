#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace stillbit::planner {

/// Rows that are equal, bit for bit, to an earlier one.
struct Repeats {
  std::vector<std::uint64_t> stored_rows;  ///< the rows that repeat no earlier one, in order
  std::vector<std::uint64_t> map;          ///< for each row, which of these it is
};

/// The share of rows that repeat an earlier one. Precondition: row_bytes is above 0.
[[nodiscard]] double share_of_repeats(Bytes rows, std::uint64_t row_bytes);

/// Finds all repeats. Rows are found by a hash and compared byte by byte. `release`, where there is one, is called for
/// parts of `rows` that were looked at, though not for the last time: a mapped file need not stay in memory.
[[nodiscard]] Repeats find_repeats(Bytes rows, std::uint64_t row_bytes, unsigned num_threads,
                                   const std::function<void(Bytes looked_at)>& release = {});

/// What finding repeats takes for each row, at most: a hash, an entry of a table that is up to four times as large as
/// the rows are many, and the two lists that are returned.
inline constexpr std::uint64_t kRepeatsBytesPerRow = 8 + 4 * 8 + 2 * 8;

}  // namespace stillbit::planner
