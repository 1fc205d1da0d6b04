#include "codecs/ibp/moves.hpp"

#include "core/bytes.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <bit>

namespace stillbit::ibp {

Moves moves_of(std::uint64_t mask) noexcept {
  Moves moves{};
  std::uint64_t zeros_below = ~mask << 1;  // of which the number, for each bit, is counted binary digit by digit
  for (unsigned i = 0; i < kNumMoves; ++i) {
    std::uint64_t is_odd = zeros_below;
    for (unsigned shift = 1; shift < 64; shift *= 2) is_odd ^= is_odd << shift;
    moves[i] = is_odd & mask;
    mask = (mask ^ moves[i]) | moves[i] >> (1U << i);
    zeros_below &= ~is_odd;
  }
  return moves;
}

MoveTables move_tables(const std::byte* free, std::uint64_t row_bytes) {
  MoveTables tables;
  const std::uint64_t num_words = align_up(ceil_div(row_bytes, 8), kBlockWords);
  std::uint64_t place = 0;
  for (std::uint64_t i = 0; i < num_words; ++i) {
    std::uint64_t mask = 0;
    if (8 * i < row_bytes) std::memcpy(&mask, free + 8 * i, std::min<std::uint64_t>(8, row_bytes - 8 * i));
    tables.places.push_back(static_cast<std::uint32_t>(place));
    place += static_cast<unsigned>(std::popcount(mask));
    const Moves moves = moves_of(mask);
    for (unsigned step = 0; step < kNumMoves; ++step) {
      if (moves[step] == 0) continue;
      tables.moves[step].resize(num_words);
      tables.moves[step][i] = moves[step];
    }
  }
  tables.places.push_back(static_cast<std::uint32_t>(place));
  return tables;
}

}  // namespace stillbit::ibp
