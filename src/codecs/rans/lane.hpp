#pragma once

#include <cstddef>
#include <cstdint>

// The steps of one lane: what is done to one word, to one state, the same on every processor. Plain C++, for host and
// device.

#if defined(__CUDACC__)
#define STILLBIT_LANE __host__ __device__ inline
#else
#define STILLBIT_LANE inline __attribute__((always_inline))
#endif

namespace stillbit::rans {

/// The low `num_bits` (0 to 63) bits set.
STILLBIT_LANE constexpr std::uint64_t low_mask(unsigned num_bits) {
  return (std::uint64_t{1} << num_bits) - 1;
}

/// States that take turns: column i is coded with state i mod 32. As many as a warp has lanes.
inline constexpr unsigned kStates = 32;

/// States below this take a word of the stream, of kWordBits bits. No more than one is ever needed: a step takes at
/// most scale_bits bits from a state.
inline constexpr unsigned kWordBits = 16;
inline constexpr std::uint32_t kLowestState = std::uint32_t{1} << kWordBits;

/// What states begin and end with in a stored row: a state of 32 bits each; 16 bits of fixed fields each.
inline constexpr unsigned kStateBytes = kStates * 4;
inline constexpr unsigned kSeedBytes = kStates * 2;

/// The symbols of one table, one entry for each slot: index, frequency − 1 and the slot's place among the symbol's own,
/// in 8, 12 and 12 bits.
using Slot = std::uint32_t;
inline constexpr unsigned kFrequencyAt = 8;
inline constexpr unsigned kPlaceAt = 20;

STILLBIT_LANE constexpr Slot slot_of(std::uint32_t index, std::uint32_t frequency, std::uint32_t place) {
  return index | (frequency - 1) << kFrequencyAt | place << kPlaceAt;
}

STILLBIT_LANE constexpr std::uint32_t index_of(Slot slot) {
  return slot & 0xFFU;
}

/// The state behind a symbol, before it takes a word.
STILLBIT_LANE constexpr std::uint32_t advance(std::uint32_t state, Slot slot, unsigned scale_bits) {
  const std::uint32_t turns = state >> scale_bits;
  return turns * (slot >> kFrequencyAt & 0xFFFU) + turns + (slot >> kPlaceAt);
}

/// What coding a symbol takes: its frequency and where its slots begin, and the frequency's reciprocal,
/// ⌊2^(32 + scale_bits) / frequency⌋ + 1. For states below frequency × 2^(32 − scale_bits) the product's high bits are
/// the quotient: it is too large by less than state / 2^(32 + scale_bits) < 1 / frequency, and has at most 64 bits.
struct CodedSymbol {
  std::uint64_t reciprocal = 0;
  std::uint32_t frequency = 0;
  std::uint32_t begin = 0;
};

/// The state before a symbol, of the state behind it. Precondition: below frequency × 2^(32 − scale_bits).
STILLBIT_LANE constexpr std::uint32_t retreat(std::uint32_t state, const CodedSymbol& symbol, unsigned scale_bits) {
  const auto turns = static_cast<std::uint32_t>(state * symbol.reciprocal >> 32 >> scale_bits);
  return (turns << scale_bits) + (state - turns * symbol.frequency) + symbol.begin;
}

/// How a word is put together. All numbers follow from the plan.
struct WordShape {
  unsigned fixed_bits = 0;
  unsigned sign_bits = 0;
  unsigned dropped_bits = 0;
  unsigned symbol_bits = 0;
  unsigned symbol_at = 0;         ///< bit position of the symbol in the word
  unsigned sign_shift = 0;        ///< from the fixed field's highest bit to the word's
  std::uint64_t rest_mask = 0;    ///< of the fixed field, what is not the sign
  std::uint64_t sign_mask = 0;    ///< of the word; 0 where the symbol begins with the highest bit
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
STILLBIT_LANE std::uint32_t symbol_of(const WordShape& shape, Word word) {
  return static_cast<std::uint32_t>(word >> shape.symbol_at & shape.symbol_mask);
}

/// The symbols that have an index: two runs of neighbours.
struct SymbolRuns {
  std::uint32_t num_first = 0;      ///< indices of the first run
  std::uint32_t first_symbol = 0;   ///< of index 0
  std::uint32_t second_symbol = 0;  ///< of index num_first
};

/// Of what this gives only the low symbol_bits have a meaning.
STILLBIT_LANE constexpr std::uint32_t symbol_at_index(const SymbolRuns& runs, std::uint32_t index) {
  return index < runs.num_first ? runs.first_symbol + index : runs.second_symbol + index - runs.num_first;
}

}  // namespace stillbit::rans
