#pragma once

#include <cstddef>
#include <cstdint>

namespace stillbit {

/// Bytes that are counted together: a vector register of AVX2, two of SSE2 or NEON.
inline constexpr std::uint64_t kStripBytes = 32;

/// Adds to `ones[8 * j + b]` in how many of the `num_rows` rows, back to back, bit b of byte j is 1. A multiple of
/// kStripBytes must be `row_bytes`. Runs on the active instruction set.
void count_positions(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones);

}  // namespace stillbit
