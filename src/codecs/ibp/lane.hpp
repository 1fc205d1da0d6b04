#pragma once

#include <cstdint>

// The steps of one lane: what is done to one word, the same on every processor. Plain C++, for host and device.

#if defined(__CUDACC__)
#define STILLBIT_LANE __host__ __device__ inline
#else
#define STILLBIT_LANE inline
#endif

namespace stillbit::ibp {

/// Gathers the bits of `word` under `mask` to the low end, in order. Goes run by run: masks have few runs of ones.
STILLBIT_LANE std::uint64_t extract_bits(std::uint64_t word, std::uint64_t mask) {
  std::uint64_t bits = 0;
  unsigned filled = 0;
  while (mask != 0) {
    const std::uint64_t run = mask & ~(mask + (mask & (0 - mask)));
    const auto start = static_cast<unsigned>(__builtin_ctzll(run));
    bits |= ((word & run) >> start) << filled;
    filled += static_cast<unsigned>(__builtin_popcountll(run));
    mask ^= run;
  }
  return bits;
}

/// Puts the low bits of `bits`, in order, at the ones of `mask`: the inverse of extract_bits.
STILLBIT_LANE std::uint64_t deposit_bits(std::uint64_t bits, std::uint64_t mask) {
  std::uint64_t word = 0;
  while (mask != 0) {
    const std::uint64_t run = mask & ~(mask + (mask & (0 - mask)));
    word |= (bits << static_cast<unsigned>(__builtin_ctzll(run))) & run;
    // A run of 64 ones is the whole mask: shifting by 63 and by 1 more is defined for it, too.
    bits = bits >> (static_cast<unsigned>(__builtin_popcountll(run)) - 1) >> 1;
    mask ^= run;
  }
  return word;
}

}  // namespace stillbit::ibp
