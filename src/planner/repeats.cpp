#include "planner/repeats.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/interrupt.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace stillbit::planner {
namespace {

constexpr std::uint64_t kRowsPerCheck = 4096;

/// A page that is touched brings up to 15 others with it: so many pairs of rows keep at most 128 MiB in memory.
constexpr std::uint64_t kPairsPerRelease = 1024;

/// A hash table of rows, as large again as the rows that it may have to hold.
class RowTable {
 public:
  /// `hashes` are those of the rows, and stay as they are.
  RowTable(Bytes rows, std::uint64_t row_bytes, std::span<const std::uint64_t> hashes)
      : rows_(rows), row_bytes_(row_bytes), hashes_(hashes), slots_(std::bit_ceil(2 * hashes.size() + 1), kEmpty) {}

  /// An earlier row that is equal, or `row` itself, which is an earlier one from now on.
  std::uint64_t find_or_add(std::uint64_t row) {
    for (std::uint64_t slot = hashes_[row];; ++slot) {
      std::uint64_t& held = slots_[slot & (slots_.size() - 1)];
      if (held == kEmpty) return held = row;
      if (hashes_[held] != hashes_[row]) continue;
      ++num_compared_;
      if (std::memcmp(row_at(held), row_at(row), row_bytes_) == 0) return held;
    }
  }

  /// Pairs of rows that were looked at so far.
  [[nodiscard]] std::uint64_t num_compared() const noexcept { return num_compared_; }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  [[nodiscard]] const std::byte* row_at(std::uint64_t row) const { return rows_.data() + row * row_bytes_; }

  Bytes rows_;
  std::uint64_t row_bytes_;
  std::span<const std::uint64_t> hashes_;
  std::vector<std::uint64_t> slots_;
  std::uint64_t num_compared_ = 0;
};

}  // namespace

double share_of_repeats(Bytes rows, std::uint64_t row_bytes) {
  const std::uint64_t num_rows = rows.size() / row_bytes;
  if (num_rows == 0) return 0;
  std::vector<std::uint64_t> hashes(num_rows);
  for (std::uint64_t row = 0; row < num_rows; ++row)
    hashes[row] = cpu::digest(rows.subspan(row * row_bytes, row_bytes));
  RowTable table(rows, row_bytes, hashes);
  std::uint64_t num_repeats = 0;
  for (std::uint64_t row = 0; row < num_rows; ++row) num_repeats += table.find_or_add(row) != row;
  return static_cast<double>(num_repeats) / static_cast<double>(num_rows);
}

Repeats find_repeats(Bytes rows, std::uint64_t row_bytes, unsigned num_threads,
                     const std::function<void(Bytes looked_at)>& release) {
  const std::uint64_t num_rows = rows.size() / row_bytes;
  std::vector<std::uint64_t> hashes(num_rows);
  constexpr std::uint64_t kTaskBytes = std::uint64_t{1} << 20;
  const std::uint64_t rows_per_task = std::max<std::uint64_t>(1, kTaskBytes / row_bytes);
  unwrap(cpu::parallel_for(ceil_div(num_rows, rows_per_task), num_threads,
                           [&](std::uint64_t task, unsigned) -> Result<void> {
                             const std::uint64_t end = std::min(num_rows, (task + 1) * rows_per_task);
                             for (std::uint64_t row = task * rows_per_task; row < end; ++row)
                               hashes[row] = cpu::digest(rows.subspan(row * row_bytes, row_bytes));
                             const std::uint64_t first = task * rows_per_task;
                             if (release) release(rows.subspan(first * row_bytes, (end - first) * row_bytes));
                             return {};
                           }));
  Repeats repeats;
  repeats.map.resize(num_rows);
  RowTable table(rows, row_bytes, hashes);
  std::uint64_t num_released = 0;
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    if (row % kRowsPerCheck == 0) cpu::check_interrupt();
    const std::uint64_t found = table.find_or_add(row);
    if (release && table.num_compared() - num_released >= kPairsPerRelease) {
      release(rows);
      num_released = table.num_compared();
    }
    if (found != row) {
      repeats.map[row] = repeats.map[found];
      continue;
    }
    repeats.map[row] = repeats.stored_rows.size();
    repeats.stored_rows.push_back(row);
  }
  return repeats;
}

}  // namespace stillbit::planner
