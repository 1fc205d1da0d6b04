#include "planner/repeats.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <bit>

namespace stillbit::planner {
namespace {

/// A hash table of rows, as large again as the rows that it may have to hold.
class RowTable {
 public:
  RowTable(Bytes rows, std::uint64_t row_bytes)
      : rows_(rows), row_bytes_(row_bytes), slots_(std::bit_ceil(2 * (rows.size() / row_bytes) + 1), kEmpty) {}

  /// An earlier row that is equal, or `row` itself, which is an earlier one from now on.
  std::uint64_t find_or_add(std::uint64_t row, std::uint64_t hash) {
    for (std::uint64_t slot = hash;; ++slot) {
      std::uint64_t& held = slots_[slot & (slots_.size() - 1)];
      if (held == kEmpty) return held = row;
      if (std::memcmp(row_at(held), row_at(row), row_bytes_) == 0) return held;
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  [[nodiscard]] const std::byte* row_at(std::uint64_t row) const { return rows_.data() + row * row_bytes_; }

  Bytes rows_;
  std::uint64_t row_bytes_;
  std::vector<std::uint64_t> slots_;
};

}  // namespace

double share_of_repeats(Bytes rows, std::uint64_t row_bytes) {
  const std::uint64_t num_rows = rows.size() / row_bytes;
  if (num_rows == 0) return 0;
  RowTable table(rows, row_bytes);
  std::uint64_t num_repeats = 0;
  for (std::uint64_t row = 0; row < num_rows; ++row)
    num_repeats += table.find_or_add(row, cpu::digest(rows.subspan(row * row_bytes, row_bytes))) != row;
  return static_cast<double>(num_repeats) / static_cast<double>(num_rows);
}

Repeats find_repeats(Bytes rows, std::uint64_t row_bytes, unsigned num_threads) {
  const std::uint64_t num_rows = rows.size() / row_bytes;
  std::vector<std::uint64_t> hashes(num_rows);
  constexpr std::uint64_t kTaskBytes = std::uint64_t{1} << 20;
  const std::uint64_t rows_per_task = std::max<std::uint64_t>(1, kTaskBytes / row_bytes);
  unwrap(cpu::parallel_for(ceil_div(num_rows, rows_per_task), num_threads,
                           [&](std::uint64_t task, unsigned) -> Result<void> {
                             const std::uint64_t end = std::min(num_rows, (task + 1) * rows_per_task);
                             for (std::uint64_t row = task * rows_per_task; row < end; ++row)
                               hashes[row] = cpu::digest(rows.subspan(row * row_bytes, row_bytes));
                             return {};
                           }));
  Repeats repeats;
  repeats.map.resize(num_rows);
  RowTable table(rows, row_bytes);
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    const std::uint64_t found = table.find_or_add(row, hashes[row]);
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
