#pragma once

#include "warp/warp.hpp"

#include <cstddef>
#include <cstdint>
#if defined(__CUDACC__)
#include "warp/byte_permute.cuh"
#endif

// Bits of memory that is read in aligned words of 32 bits: shared memory has no others.

namespace stillbit::warp {

/// The low `num_bits` (0 to 32) bits set.
STILLBIT_WARP std::uint32_t low_mask(unsigned num_bits) {
  return num_bits >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << num_bits) - 1;
}

STILLBIT_WARP std::uint64_t low_mask_64(unsigned num_bits) {
  return num_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << num_bits) - 1;
}

STILLBIT_WARP unsigned popcount(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<unsigned>(__popc(static_cast<int>(bits)));
#else
  return static_cast<unsigned>(__builtin_popcount(bits));
#endif
}

/// The place of the lowest one. Precondition: there is one.
STILLBIT_WARP unsigned lowest_one(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<unsigned>(__ffs(static_cast<int>(bits))) - 1;
#else
  return static_cast<unsigned>(__builtin_ctz(bits));
#endif
}

/// Bits 0 to 31 of (high, low) >> shift, of which only the low 5 bits count.
STILLBIT_WARP std::uint32_t funnel_shift_right(std::uint32_t low, std::uint32_t high, unsigned shift) {
#if defined(__CUDA_ARCH__)
  return __funnelshift_r(low, high, shift);
#else
  return static_cast<std::uint32_t>((std::uint64_t{high} << 32 | low) >> (shift & 31U));
#endif
}

/// Byte i is the one of (high, low) that nibble i of `selector` names: 0 to 7, the upper half of it does not count.
STILLBIT_WARP std::uint32_t byte_permute(std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return ptx::byte_permute(low, high, selector);
#else
  const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
  std::uint32_t picked = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 0xFU;
    // As a GPU does it: the highest bit asks for the byte's sign.
    const auto byte = static_cast<std::uint32_t>(bytes >> (nibble & 7U) * 8 & 0xFFU);
    picked |= (nibble < 8 ? byte : (byte >> 7) * 0xFFU) << (8 * i);
  }
  return picked;
#endif
}

/// Bits of `a` where `mask` has ones, of `b` where it has zeros.
STILLBIT_WARP std::uint32_t select_bits(std::uint32_t mask, std::uint32_t a, std::uint32_t b) {
  return (a & mask) | (b & ~mask);
}

/// A run of bytes that starts anywhere in aligned memory. Up to 11 bytes behind the last bit that is asked for are
/// read, and must be readable.
struct ByteRun {
  const std::uint32_t* words = nullptr;  ///< aligned
  std::uint32_t first_byte = 0;          ///< where it starts, in bytes from `words`
  std::uint32_t num_bytes = 0;

  /// `width` (0 to 32) bits from bit `bit` on.
  [[nodiscard]] STILLBIT_WARP std::uint32_t bits(std::uint32_t bit, unsigned width) const {
    const std::uint32_t at = first_byte * 8 + bit;
    const std::uint32_t* word = words + at / 32;
    return funnel_shift_right(word[0], word[1], at) & low_mask(width);
  }

  /// `width` (0 to 64) bits from bit `bit` on.
  [[nodiscard]] STILLBIT_WARP std::uint64_t bits_64(std::uint32_t bit, unsigned width) const {
    const std::uint32_t at = first_byte * 8 + bit;
    const std::uint32_t* word = words + at / 32;
    const std::uint32_t low = funnel_shift_right(word[0], word[1], at);
    const std::uint32_t high = funnel_shift_right(word[1], word[2], at);
    return (std::uint64_t{high} << 32 | low) & low_mask_64(width);
  }

  [[nodiscard]] STILLBIT_WARP std::uint32_t byte(std::uint32_t at) const {
    const std::uint32_t byte = first_byte + at;
    return words[byte / 4] >> (byte % 4 * 8) & 0xFFU;
  }
};

/// Byte runs have bit offsets of 32 bits.
inline constexpr std::uint64_t kMaxRunBytes = std::uint64_t{1} << 28;

/// `width` (0 to 57) bits from bit `bit` on of memory that starts at a multiple of 8.
STILLBIT_WARP std::uint64_t bits_of(const std::byte* memory, std::uint64_t bit, unsigned width) {
  const auto* words = reinterpret_cast<const std::uint32_t*>(memory) + bit / 32;
  const ByteRun run{words, 0, 0};
  return run.bits_64(static_cast<std::uint32_t>(bit % 32), width);
}

/// Fields of `width` bits, one after the other from bit `bit` on: of words narrower than 32 bits as many are taken from
/// memory at a time as 32 bits hold. Precondition: `width` is at most 8 × sizeof(Word).
template <class Word, class Number, unsigned kCount>
STILLBIT_WARP void load_fields(const ByteRun& run, std::uint32_t bit, unsigned width, Number (&fields)[kCount]);

/// A word of the view's size, or of bits as wide.
template <class Word>
STILLBIT_WARP Word load_bits(const ByteRun& run, std::uint32_t bit, unsigned width) {
  if constexpr (sizeof(Word) == 8) {
    return run.bits_64(bit, width);
  } else {
    return static_cast<Word>(run.bits(bit, width));
  }
}

template <class Word, class Number, unsigned kCount>
STILLBIT_WARP void load_fields(const ByteRun& run, std::uint32_t bit, unsigned width, Number (&fields)[kCount]) {
  constexpr unsigned kAtOnce = sizeof(Word) < 4 ? 4 / sizeof(Word) : 1;
  static_assert(kCount % kAtOnce == 0);
  const auto mask = static_cast<Number>(low_mask_64(width));
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kCount; i += kAtOnce) {
    if constexpr (kAtOnce == 1) {
      fields[i] = load_bits<Number>(run, bit + i * width, 8 * sizeof(Number)) & mask;
    } else {
      std::uint32_t several = run.bits(bit + i * width, 32);
      STILLBIT_UNROLL
      for (unsigned j = 0; j < kAtOnce; ++j) {
        fields[i + j] = several & mask;
        several >>= width;
      }
    }
  }
}

}  // namespace stillbit::warp
