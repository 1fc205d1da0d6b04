#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace stillbit::ibp {

inline constexpr unsigned kNumMoves = 6;

/// How the bits under one mask are gathered to the low end of a word, and back, without an instruction for it: in step
/// i those of moves[i] go down by 2^i. Steps are done in order to gather, backwards to spread.
///
/// Source: H. S. Warren, Hacker's Delight, 2nd edition, 7-4 "Compress, or Generalized Extract" and 7-5 "Expand".
using Moves = std::array<std::uint64_t, kNumMoves>;

[[nodiscard]] Moves moves_of(std::uint64_t mask) noexcept;

/// What portable kernels know of the masks of a row, 8 bytes at a time: as many as there are, to whole blocks of them.
struct MoveTables {
  std::vector<std::uint64_t> moves[kNumMoves];  ///< of each word; empty where no word has any
  std::vector<std::uint32_t> places;            ///< the free bits before each word, and of all
};

/// Words that kernels work on together.
inline constexpr std::uint64_t kBlockWords = 32;

/// `free` has the masks of a row, `row_bytes` of it.
[[nodiscard]] MoveTables move_tables(const std::byte* free, std::uint64_t row_bytes);

}  // namespace stillbit::ibp
