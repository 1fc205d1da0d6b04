#pragma once

#include "warp/output.hpp"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace stillbit::warp {

/// Words that are moved as one.
template <unsigned kWords>
struct alignas(4 * kWords) AlignedWords {
  std::uint32_t words[kWords];
};

/// What words are computed in.
template <class Word>
using NumberOf = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;

/// The words of a lane's columns.
template <class Word>
struct LaneWords {
  static constexpr unsigned kParts = kLaneColumns * sizeof(Word) / 4;
  std::uint32_t parts[kParts];

  /// One word in all columns.
  STILLBIT_WARP static LaneWords all(NumberOf<Word> word) {
    LaneWords words;
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kParts; ++i) {
      if constexpr (sizeof(Word) == 8) {
        words.parts[i] = static_cast<std::uint32_t>(word >> (i % 2 * 32));
      } else {
        words.parts[i] = word * (~std::uint32_t{0} / low_mask(8 * sizeof(Word)));
      }
    }
    return words;
  }

  /// `i` is known to the compiler: the parts are in registers.
  [[nodiscard]] STILLBIT_WARP NumberOf<Word> operator[](unsigned i) const {
    if constexpr (sizeof(Word) == 8) {
      return std::uint64_t{parts[2 * i + 1]} << 32 | parts[2 * i];
    } else {
      return parts[i * sizeof(Word) / 4] >> (i * sizeof(Word) % 4 * 8) & low_mask(8 * sizeof(Word));
    }
  }
};

/// Words `column` to `column` + 7 at an address that is a multiple of 16; `column` is a multiple of 8.
template <class Word>
STILLBIT_WARP LaneWords<Word> aligned_words(const std::byte* memory, std::uint32_t column) {
  constexpr unsigned kParts = LaneWords<Word>::kParts;
  constexpr unsigned kStep = kParts < 4 ? kParts : 4;
  LaneWords<Word> loaded;
  const auto* src = reinterpret_cast<const AlignedWords<kStep>*>(memory + column * sizeof(Word));
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kParts; i += kStep) {
    const AlignedWords<kStep> step = src[i / kStep];
    STILLBIT_UNROLL
    for (unsigned j = 0; j < kStep; ++j) loaded.parts[i + j] = step.words[j];
  }
  return loaded;
}

/// The same of a row whose `words` are at a multiple of 16: in wide loads where it is aligned to them. Those of columns
/// that the row does not have are anything: kSectionSlack bytes behind the row are read.
template <class Word>
STILLBIT_WARP LaneWords<Word> lane_words(const ByteRun& row, std::uint32_t column) {
  constexpr unsigned kParts = LaneWords<Word>::kParts;
  if (row.first_byte % (kParts < 4 ? 4 * kParts : 16) == 0)
    return aligned_words<Word>(reinterpret_cast<const std::byte*>(row.words) + row.first_byte, column);
  LaneWords<Word> loaded;
  const std::uint32_t first = row.first_byte + column * static_cast<std::uint32_t>(sizeof(Word));
  const std::uint32_t* const src = row.words + first / 4;
  std::uint32_t low = src[0];
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kParts; ++i) {
    const std::uint32_t high = src[i + 1];
    loaded.parts[i] = funnel_shift_right(low, high, first % 4 * 8);
    low = high;
  }
  return loaded;
}

}  // namespace stillbit::warp
