#pragma once

#include <cstdint>

namespace stillbit::tiers {

/// Mixes a row number so that every bit depends on every other: the finalizer of MurmurHash3, which is a bijection.
[[nodiscard]] inline std::uint64_t hash_row(std::uint64_t row) noexcept {
  std::uint64_t h = row + 0x9e3779b97f4a7c15U;
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdU;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53U;
  return h ^ (h >> 33);
}

/// The upper half of a hash as a number below `count`, without a division. Precondition: count < 2^32.
[[nodiscard]] inline std::uint64_t scale(std::uint64_t hash, std::uint64_t count) noexcept {
  return ((hash >> 32) * count) >> 32;
}

}  // namespace stillbit::tiers
