#pragma once

#include "core/bytes.hpp"

#include <bit>
#include <cstdint>

namespace stillbit {

/// Reads `num_bits` (0 to 56) at `bit_offset` of a stream that fills bytes from their low end. Touches only bytes that
/// hold them.
[[nodiscard]] inline std::uint64_t load_bits(const std::byte* stream, std::uint64_t bit_offset,
                                             unsigned num_bits) noexcept {
  if (num_bits == 0) return 0;  // of such numbers there is no stream
  const unsigned shift = static_cast<unsigned>(bit_offset % 8);
  const std::size_t num_bytes = (shift + num_bits + 7) / 8;
  std::uint64_t word = 0;
  std::memcpy(&word, stream + bit_offset / 8, num_bytes < 8 ? num_bytes : 8);
  return (word >> shift) & ((std::uint64_t{1} << num_bits) - 1);
}

/// Sets `num_bits` (0 to 56) at `bit_offset` of a stream of zeros. Touches only bytes that hold them.
inline void store_bits(std::byte* stream, std::uint64_t bit_offset, unsigned num_bits, std::uint64_t bits) noexcept {
  const unsigned shift = static_cast<unsigned>(bit_offset % 8);
  std::byte* dst = stream + bit_offset / 8;
  std::uint64_t word = bits << shift;
  for (std::size_t n = (shift + num_bits + 7) / 8; n > 0; --n, ++dst, word >>= 8)
    *dst |= static_cast<std::byte>(word & 0xFF);
}

}  // namespace stillbit
