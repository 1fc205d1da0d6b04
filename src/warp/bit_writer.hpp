#pragma once

#include "warp/bits.hpp"

#include <type_traits>

// Rows as warps write them: bits that go into words which were zero before.

namespace stillbit::warp {

/// What an encoder returns in place of a stored size where a row is stored raw.
inline constexpr std::uint32_t kStoredRaw = ~std::uint32_t{0};

/// Sets up to 64 bits from bit `bit` on. Lanes may do so in the same words at the same time. Inside each.
template <class Warp>
STILLBIT_WARP void or_bits(Warp& warp, std::uint32_t* words, std::uint32_t bit, std::uint64_t bits) {
  std::uint32_t* const word = words + bit / 32;
  const unsigned shift = bit % 32;
  const std::uint64_t placed = bits << shift;
  const auto beyond = static_cast<std::uint32_t>(bits >> 32 >> 1 >> (31 - shift));  // shift 0: none
  if (const auto low = static_cast<std::uint32_t>(placed); low != 0) warp.fetch_or(word, low);
  if (const auto high = static_cast<std::uint32_t>(placed >> 32); high != 0) warp.fetch_or(word + 1, high);
  if (beyond != 0) warp.fetch_or(word + 2, beyond);
}

/// One lane's fields, one after the other. Words that the lane fills alone are stored, those at its ends, which it may
/// share with others, or-ed.
template <class Warp>
class LaneBits {
 public:
  /// Inside each, and only used there.
  STILLBIT_WARP LaneBits(Warp& warp, std::uint32_t* words, std::uint32_t bit)
      : warp_(warp), word_(words + bit / 32), num_pending_(bit % 32), is_shared_(bit % 32 != 0) {}

  /// Precondition: `bits` has none above `width` (0 to 32, or to 64 where it has as many).
  template <class Number>
  STILLBIT_WARP void put(Number bits, unsigned width) {
    static_assert(std::is_same_v<Number, std::uint32_t> || std::is_same_v<Number, std::uint64_t>);
    if constexpr (sizeof(Number) == 8) {
      const unsigned low_width = width < 32 ? width : 32;
      put(static_cast<std::uint32_t>(bits), low_width);
      put(static_cast<std::uint32_t>(bits >> 32), width - low_width);
    } else {
      pending_ |= std::uint64_t{bits} << num_pending_;
      num_pending_ += width;
      if (num_pending_ < 32) return;
      flush();
      pending_ >>= 32;
      num_pending_ -= 32;
    }
  }

  STILLBIT_WARP void finish() {
    if (const auto left = static_cast<std::uint32_t>(pending_); left != 0) warp_.fetch_or(word_, left);
  }

 private:
  STILLBIT_WARP void flush() {
    const auto word = static_cast<std::uint32_t>(pending_);
    if (is_shared_) {
      warp_.fetch_or(word_, word);
    } else {
      *word_ = word;
    }
    is_shared_ = false;
    ++word_;
  }

  Warp& warp_;
  std::uint32_t* word_;
  std::uint64_t pending_ = 0;
  unsigned num_pending_;
  bool is_shared_;
};

}  // namespace stillbit::warp
