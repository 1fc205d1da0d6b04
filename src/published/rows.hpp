#pragma once

#include "core/buffer.hpp"
#include "core/result.hpp"
#include "cpu/parallel.hpp"
#include "published/layout.hpp"

#include <stillbit/published.hpp>

#include <vector>

namespace stillbit::published {

/// Bytes of rows in one task; less than two tasks are not worth a thread.
inline constexpr std::uint64_t kTaskBytes = std::uint64_t{256} << 10;

/// Tasks begin at multiples of so many rows: those that a word of a bitmask stands for, and that fill whole vectors
/// however short they are.
inline constexpr std::uint64_t kRowsPerGroup = 32;

/// Cuts `count` rows into tasks and runs `body(first, count, worker)` for each.
template <class Body>
Result<void> for_each_task(std::uint64_t count, std::uint64_t row_bytes, unsigned num_threads, const Body& body) {
  const std::uint64_t per_task =
      align_up(std::max<std::uint64_t>(1, kTaskBytes / std::max<std::uint64_t>(1, row_bytes)), kRowsPerGroup);
  if (count <= per_task) return count > 0 ? body(0, count, 0U) : Result<void>();
  return cpu::parallel_for(ceil_div(count, per_task), num_threads, [&](std::uint64_t task, unsigned worker) {
    const std::uint64_t first = task * per_task;
    return body(first, std::min(per_task, count - first), worker);
  });
}

/// The sizes of a table that fit together, or a fault.
template <class Byte>
Result<Layout> checked_layout(const BasicTable<Byte>& table);

/// Whether there are as many bytes as the sizes say.
template <class Byte>
Result<void> check_bytes(const BasicTable<Byte>& table, const Layout& layout);

/// Whether masks, clusters and index fit a table: of the clusters those of the rows that the index names are looked at.
Result<void> check_masks(const Masks& masks, const Layout& layout, std::uint64_t num_rows, const Index& index);

/// Memory of each thread, made when the thread first asks for it.
class Scratch {
 public:
  Scratch(unsigned num_threads, std::uint64_t num_bytes) : buffers_(num_threads), num_bytes_(num_bytes) {}

  std::byte* of(unsigned worker) {
    Buffer& buffer = buffers_[worker];
    if (buffer.size() == 0) buffer = Buffer(num_bytes_);
    return buffer.data();
  }

 private:
  std::vector<Buffer> buffers_;
  std::uint64_t num_bytes_;
};

/// The mask or value of a row.
inline const std::byte* of_row(std::span<const std::byte> masks, const Masks& all, const Layout& layout,
                               std::uint64_t row) {
  return all.clusters.empty() ? masks.data()
                              : masks.data() + static_cast<std::uint64_t>(all.clusters[row]) * layout.row_bytes;
}

}  // namespace stillbit::published
