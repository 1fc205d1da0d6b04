#pragma once

#include "warp/table.hpp"

// Of rows that an update names twice the last is kept, as on the CPU: a pass of its own over the index finds which
// positions those are, and each row is then written by one warp only.

namespace stillbit::warp {

/// A hash table of the rows that an index names, half empty: a cell is 0 or has one more than a position, the last so
/// far of those that name the same row. Cells are 0 before `find_last_writers`.
struct LastWriters {
  std::uint32_t* cells = nullptr;
  std::uint32_t num_cells = 0;  ///< a power of two
};

/// Positions of an index: cells have 32 bits.
inline constexpr std::uint64_t kMaxPositions = std::uint64_t{1} << 30;

/// Precondition: at most kMaxPositions.
[[nodiscard]] constexpr std::uint32_t num_cells_for(std::uint64_t num_positions) noexcept {
  std::uint32_t num_cells = 2;
  while (num_cells < 2 * num_positions) num_cells *= 2;
  return num_cells;
}

STILLBIT_WARP std::uint32_t first_cell_of(const LastWriters& table, std::int64_t row) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(row) * 0x9E3779B97F4A7C15U >> 32) &
         (table.num_cells - 1);
}

/// Enters a position. Inside each.
template <class Warp>
STILLBIT_WARP void enter(Warp& warp, const LastWriters& table, const std::int64_t* index, std::uint32_t position) {
  const std::int64_t row = index[position];
  for (std::uint32_t at = first_cell_of(table, row);; at = (at + 1) & (table.num_cells - 1)) {
    if (warp.claim(table.cells + at, position + 1)) return;
    // A cell stays with the row that it was claimed for: any position in it tells which.
    const std::uint32_t other = warp.fetch_max(table.cells + at, 0) - 1;
    if (index[other] != row) continue;
    warp.fetch_max(table.cells + at, position + 1);
    return;
  }
}

/// Enters all positions whose rows are there. Reports one whose row is not.
template <class Warp>
STILLBIT_WARP void find_last_writers(Warp& warp, const LastWriters& table, const std::int64_t* index,
                                     std::uint32_t num_positions, std::uint64_t num_rows, std::uint64_t warp_number,
                                     std::uint64_t num_warps, Status* status) {
  for (std::uint64_t first = warp_number * kLanes; first < num_positions; first += num_warps * kLanes) {
    warp.each([&](unsigned lane) {
      const std::uint64_t position = first + lane;
      if (position >= num_positions) return;
      if (static_cast<std::uint64_t>(index[position]) >= num_rows) {
        report(warp, status, Fault::kIndexOutOfRange, position);
      } else {
        enter(warp, table, index, static_cast<std::uint32_t>(position));
      }
    });
  }
}

/// Whether no later position names the same row. Precondition: it was entered.
STILLBIT_WARP bool is_last(const LastWriters& table, const std::int64_t* index, std::uint64_t position) {
  const std::int64_t row = index[position];
  std::uint32_t at = first_cell_of(table, row);
  while (index[table.cells[at] - 1] != row) at = (at + 1) & (table.num_cells - 1);
  return table.cells[at] == position + 1;
}

}  // namespace stillbit::warp
