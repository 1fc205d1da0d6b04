#pragma once

#include <cstddef>
#include <cstdint>

// The steps of one lane: what is done to one word or to one group of codes, the same on every processor. Plain C++, for
// host and device.

#if defined(__CUDACC__)
#define STILLBIT_LANE __host__ __device__ inline
#else
#define STILLBIT_LANE inline __attribute__((always_inline))
#endif

namespace stillbit::escape {

/// Codes of the first tier that lie together: see "Row" in spec.md.
constexpr unsigned kBlockCodes = 64;

/// The low `num_bits` (0 to 63) bits set.
STILLBIT_LANE constexpr std::uint64_t low_mask(unsigned num_bits) {
  return (std::uint64_t{1} << num_bits) - 1;
}

/// Codes 8 × part to 8 × part + 7 of a block, one byte each.
STILLBIT_LANE std::uint64_t block_codes(const std::byte* block, unsigned part, unsigned width) {
  std::uint64_t codes = 0;
  for (unsigned bit = 0; bit + 2 <= width; bit += 2, block += 16) {
    std::uint64_t pairs;
    __builtin_memcpy(&pairs, block + part % 2 * 8, 8);
    codes |= (pairs >> (part / 2 * 2) & 0x0303030303030303U) << bit;
  }
  if (width % 2 != 0) {
    // Bit i of the byte goes to byte i, and there to bit 0.
    const std::uint64_t ones = (static_cast<std::uint64_t>(block[part]) * 0x0101010101010101U & 0x8040201008040201U);
    codes |= ((ones + 0x7F7F7F7F7F7F7F7FU) >> 7 & 0x0101010101010101U) << (width - 1);
  }
  return codes;
}

/// The inverse: puts eight codes into a block whose bytes were zeros.
STILLBIT_LANE void put_block_codes(std::byte* block, unsigned part, unsigned width, std::uint64_t codes) {
  for (unsigned bit = 0; bit + 2 <= width; bit += 2, block += 16) {
    std::uint64_t pairs;
    __builtin_memcpy(&pairs, block + part % 2 * 8, 8);
    pairs |= (codes >> bit & 0x0303030303030303U) << (part / 2 * 2);
    __builtin_memcpy(block + part % 2 * 8, &pairs, 8);
  }
  if (width % 2 != 0)
    block[part] = static_cast<std::byte>((codes >> (width - 1) & 0x0101010101010101U) * 0x0102040810204080U >> 56);
}

/// Eight codes that follow each other without gaps in the low bits of `fields`, one byte each.
STILLBIT_LANE std::uint64_t codes_in_turn(std::uint64_t fields, unsigned width) {
  fields &= low_mask(8 * width);
  const std::uint64_t fours = (fields | fields << (32 - 4 * width)) & low_mask(4 * width) * 0x0000000100000001U;
  const std::uint64_t pairs = (fours | fours << (16 - 2 * width)) & low_mask(2 * width) * 0x0001000100010001U;
  return (pairs | pairs << (8 - width)) & low_mask(width) * 0x0101010101010101U;
}

/// Bit i is set where byte i is 0, an escape. Precondition: bytes are below 128.
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
