#pragma once

#include <cstdint>

// The steps of one lane: what is done to one word or to one group of codes, the same on every processor. Plain C++, for
// host and device.

#if defined(__CUDACC__)
#define STILLBIT_LANE __host__ __device__ inline
#else
#define STILLBIT_LANE inline __attribute__((always_inline))
#endif

namespace stillbit::escape {

/// Codes that one group has: whole bytes at every width.
constexpr unsigned kGroupCodes = 8;

/// The low `num_bits` (0 to 63) bits set.
STILLBIT_LANE constexpr std::uint64_t low_mask(unsigned num_bits) {
  return (std::uint64_t{1} << num_bits) - 1;
}

/// Spreads a group of codes of `width` (1 to 4) bits each to one byte each. Bits of `group` above the last are ignored.
STILLBIT_LANE std::uint64_t spread_codes(std::uint64_t group, unsigned width) {
  const std::uint64_t halves = low_mask(4 * width);
  const std::uint64_t quarters = low_mask(2 * width) * 0x0000000100000001U;
  const std::uint64_t codes = low_mask(width) * 0x0001000100010001U;
  group = (group & halves) | ((group >> (4 * width)) & halves) << 32;
  group = (group & quarters) | ((group >> (2 * width)) & quarters) << 16;
  return (group & codes) | ((group >> width) & codes) << 8;
}

/// The inverse of spread_codes. Precondition: bytes are below 2^width.
STILLBIT_LANE std::uint64_t join_codes(std::uint64_t bytes, unsigned width) {
  bytes = (bytes & 0x00FF00FF00FF00FFU) | (bytes >> 8 & 0x00FF00FF00FF00FFU) << width;
  bytes = (bytes & 0x0000FFFF0000FFFFU) | (bytes >> 16 & 0x0000FFFF0000FFFFU) << (2 * width);
  return (bytes & 0xFFFFFFFFU) | bytes >> 32 << (4 * width);
}

/// Bit i is set where byte i of a group is 0, an escape. Precondition: bytes are below 128.
STILLBIT_LANE unsigned escapes_of(std::uint64_t bytes) {
  const std::uint64_t zeros = ~(bytes + 0x7F7F7F7F7F7F7F7FU) & 0x8080808080808080U;
  return static_cast<unsigned>((zeros >> 7) * 0x0102040810204080U >> 56);
}

/// How a word is put together. All numbers follow from the plan.
struct WordShape {
  unsigned fixed_bits = 0;
  unsigned sign_bits = 0;
  unsigned dropped_bits = 0;
  unsigned symbol_bits = 0;
  unsigned symbol_at = 0;         ///< bit position of the symbol in the word
  unsigned sign_shift = 0;        ///< W − fixed_bits: from the fixed field's highest bit to the word's
  std::uint64_t rest_mask = 0;    ///< of the fixed field, what is not the sign
  std::uint64_t sign_mask = 0;    ///< of the word; 0 where signs are not stored
  std::uint64_t forbidden = 0;    ///< of the word: bits that are zero in every encoded row
  std::uint64_t symbol_mask = 0;  ///< the low symbol_bits bits
};

template <class Word>
STILLBIT_LANE Word join_word(const WordShape& shape, std::uint64_t fixed, std::uint64_t symbol) {
  return static_cast<Word>((fixed & shape.rest_mask) << shape.dropped_bits | symbol << shape.symbol_at |
                           (fixed << shape.sign_shift & shape.sign_mask));
}

template <class Word>
STILLBIT_LANE std::uint64_t fixed_field(const WordShape& shape, Word word) {
  return (word >> shape.dropped_bits & shape.rest_mask) | (word & shape.sign_mask) >> shape.sign_shift;
}

template <class Word>
STILLBIT_LANE Word symbol_of(const WordShape& shape, Word word) {
  return static_cast<Word>(word >> shape.symbol_at & shape.symbol_mask);
}

}  // namespace stillbit::escape
