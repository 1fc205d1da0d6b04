#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace stillbit::cli {

// What compressed tensors are measured beside: the same bytes, never compressed, with the same number of threads.

/// memcpy; `to` is as large as `from`.
void parallel_copy(std::span<const std::byte> from, std::span<std::byte> to, unsigned num_threads);

/// Copies rows index[0], index[1] … of `table` to `to`, back to back. Rows are requested from memory as far ahead as
/// the library does it.
void prefetched_gather(std::span<const std::byte> table, std::uint64_t row_bytes, std::span<const std::int64_t> index,
                       std::span<std::byte> to, unsigned num_threads);

}  // namespace stillbit::cli
