#pragma once

#include "warp/bits.hpp"

#include <cstring>
#include <type_traits>

namespace stillbit::warp {

/// Where the bytes of a tile go that are wanted of it: all, or those of one row.
struct Output {
  std::uintptr_t tile = 0;  ///< the address that byte 0 of the tile would have: there need not be memory
  std::uint32_t begin = 0;  ///< the first byte that is wanted
  std::uint32_t end = 0;

  [[nodiscard]] STILLBIT_WARP bool is_aligned(unsigned alignment) const { return tile % alignment == 0; }
  [[nodiscard]] STILLBIT_WARP bool wants_all(std::uint32_t from, std::uint32_t to) const {
    return from >= begin && to <= end;
  }
};

/// Bytes that are stored at once. In words, where there are any: of bytes a GPU would put them together again.
template <unsigned kBytes>
struct alignas(kBytes) Vector {
  using Part = std::conditional_t<kBytes % 4 == 0, std::uint32_t, unsigned char>;
  Part parts[kBytes / sizeof(Part)];
};

/// Stores the low kBytes bytes of a word at byte `at` of the tile, as far as they are wanted, two or one at a time. A
/// loop: few outputs are so aligned, and a kernel has this in many places.
template <unsigned kBytes>
STILLBIT_WARP void store_piecemeal(const Output& out, std::uint32_t at, std::uint32_t word) {
  const bool by_twos = (out.tile | out.begin | out.end) % 2 == 0;
  const unsigned step = by_twos ? 2 : 1;
  STILLBIT_NO_UNROLL
  for (unsigned i = 0; i < kBytes; i += step, word >>= 8 * step) {
    if (!out.wants_all(at + i, at + i + step)) continue;
    if (by_twos) {
      *reinterpret_cast<std::uint16_t*>(out.tile + at + i) = static_cast<std::uint16_t>(word);
    } else {
      *reinterpret_cast<std::uint8_t*>(out.tile + at + i) = static_cast<std::uint8_t>(word);
    }
  }
}

/// Stores kBytes bytes at byte `at` of the tile, as far as they are wanted. The widest stores that the output's
/// alignment allows: neighbouring lanes store neighbouring bytes.
template <unsigned kBytes>
STILLBIT_WARP void store_bytes(const Output& out, std::uint32_t at, const void* bytes) {
  static_assert(kBytes == 1 || kBytes == 2 || kBytes == 4 || kBytes == 8 || kBytes == 16);
  if (out.wants_all(at, at + kBytes) && out.is_aligned(kBytes)) {
    // Precondition: `at` is a multiple of kBytes.
    Vector<kBytes> vector;
    std::memcpy(&vector, bytes, kBytes);
    *reinterpret_cast<Vector<kBytes>*>(out.tile + at) = vector;
    return;
  }
  if constexpr (kBytes > 4) {
    store_bytes<kBytes / 2>(out, at, bytes);
    store_bytes<kBytes / 2>(out, at + kBytes / 2, static_cast<const unsigned char*>(bytes) + kBytes / 2);
  } else if constexpr (kBytes > 1) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes, kBytes);
    store_piecemeal<kBytes>(out, at, word);
  }
}

/// Columns that a lane expands together.
inline constexpr unsigned kLaneColumns = 8;

/// Columns that a warp expands in one step.
inline constexpr unsigned kStepColumns = kLanes * kLaneColumns;

/// What codecs may keep between the lanes while they expand a row.
inline constexpr std::uint32_t kScratchBytes = 1056;

/// Stores the words of columns `column` to `column` + 7; `column` is a multiple of 8.
template <class Word>
STILLBIT_WARP void store_words(const Output& out, std::uint32_t column, const Word (&words)[kLaneColumns]) {
  constexpr unsigned kBytes = kLaneColumns * sizeof(Word);
  constexpr unsigned kVectorBytes = kBytes < 16 ? kBytes : 16;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kBytes; i += kVectorBytes) {
    store_bytes<kVectorBytes>(out, column * static_cast<std::uint32_t>(sizeof(Word)) + i,
                              reinterpret_cast<const unsigned char*>(words) + i);
  }
}

/// Stores words that are in registers, as they are in memory, at byte `at` of the tile, a multiple of their size.
template <unsigned kParts>
STILLBIT_WARP void store_parts(const Output& out, std::uint32_t at, const std::uint32_t (&parts)[kParts]) {
  constexpr unsigned kStep = kParts < 4 ? kParts : 4;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kParts; i += kStep) store_bytes<4 * kStep>(out, at + 4 * i, parts + i);
}

/// Stores of kBytes bytes at once where all of them are wanted and the output is aligned to them: which these are takes
/// one comparison.
template <unsigned kBytes>
class WideStores {
 public:
  STILLBIT_WARP explicit WideStores(const Output& out)
      : tile_(out.tile),
        begin_(out.begin),
        span_(out.is_aligned(kBytes) && out.end - out.begin >= kBytes ? out.end - out.begin - kBytes + 1 : 0) {}

  /// Whether bytes `at` to `at` + kBytes − 1 can be stored at once; `at` is a multiple of kBytes.
  [[nodiscard]] STILLBIT_WARP bool has(std::uint32_t at) const { return at - begin_ < span_; }

  /// Precondition: has(at).
  STILLBIT_WARP void store(std::uint32_t at, const std::uint32_t* words) const {
    Vector<kBytes> vector;
    std::memcpy(&vector, words, kBytes);
    *reinterpret_cast<Vector<kBytes>*>(tile_ + at) = vector;
  }

 private:
  std::uintptr_t tile_;
  std::uint32_t begin_;
  std::uint32_t span_;
};

template <class Word>
STILLBIT_WARP void store_word(const Output& out, std::uint32_t column, Word word) {
  store_bytes<sizeof(Word)>(out, column * static_cast<std::uint32_t>(sizeof(Word)), &word);
}

/// Stores a tile that is raw.
template <class Warp>
STILLBIT_WARP void store_raw(Warp& warp, const ByteRun& tile, const Output& out) {
  constexpr std::uint32_t kStepBytes = kLanes * 16;
  for (std::uint32_t first = out.begin / kStepBytes * kStepBytes; first < out.end; first += kStepBytes) {
    warp.each([&](unsigned lane) {
      const std::uint32_t at = first + lane * 16;
      if (at + 16 <= out.begin || at >= out.end) return;
      std::uint32_t words[4];
      STILLBIT_UNROLL
      for (unsigned i = 0; i < 4; ++i) words[i] = at + 4 * i < tile.num_bytes ? tile.bits((at + 4 * i) * 8, 32) : 0;
      store_bytes<16>(out, at, words);
    });
  }
}

}  // namespace stillbit::warp
