#pragma once

#include "warp/bits.hpp"

#include <type_traits>

// Rows as warps write them: bits that go into words which were zero before. Words are or-ed throughout: those at the
// ends of what a lane writes are its neighbours', too.

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

/// One lane's fields, one after the other. Inside each.
template <class Warp>
class LaneBits {
 public:
  STILLBIT_WARP LaneBits(Warp& warp, std::uint32_t* words, std::uint32_t bit)
      : warp_(warp), word_(words + bit / 32), num_pending_(bit % 32) {}

  /// Precondition: `bits` has none above `width`, which is at most the size of a Number.
  template <class Number>
  STILLBIT_WARP void put(Number bits, unsigned width) {
    static_assert(std::is_same_v<Number, std::uint32_t> || std::is_same_v<Number, std::uint64_t>);
    if constexpr (sizeof(Number) == 8) {
      const unsigned low_width = width < 32 ? width : 32;
      put(static_cast<std::uint32_t>(bits), low_width);
      put(static_cast<std::uint32_t>(bits >> 32), width - low_width);
    } else {
      pending_ |= bits << num_pending_;
      num_pending_ += width;
      if (num_pending_ < 32) return;
      finish();
      ++word_;
      num_pending_ -= 32;
      const unsigned written = width - num_pending_;
      pending_ = written == 32 ? 0 : bits >> written;
    }
  }

  /// Writes what is left.
  STILLBIT_WARP void finish() { warp_.fetch_or(word_, pending_); }

 private:
  Warp& warp_;
  std::uint32_t* word_;
  std::uint32_t pending_ = 0;
  unsigned num_pending_;  ///< below 32, from the word's low end on
};

}  // namespace stillbit::warp
