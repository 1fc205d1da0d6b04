#pragma once

#include "core/result.hpp"
#include "warp/table.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::cuda {

/// Tiles whose stored bytes lie together, and are moved together.
struct Piece {
  std::uint64_t first_tile = 0;
  std::uint64_t num_tiles = 0;
  std::uint64_t begin = 0;  ///< in the rows section; a multiple of kPieceAlignment
  std::uint64_t end = 0;
};

/// Copies and reads of 16 bytes from a piece's memory are aligned as from the section's.
inline constexpr std::uint64_t kPieceAlignment = 128;

/// Stored bytes of a piece, but for its last tile: long against the start of a copy, short against the GPU's memory.
inline constexpr std::uint64_t kPieceBytes = std::uint64_t{16} << 20;

/// Cuts a table, whose pointers are to memory that this thread reads, into pieces of about `piece_bytes`. No pieces
/// where tiles are not stored in their order: where rows repeat others. A fault where the index is malformed.
Result<std::vector<Piece>> cut_into_pieces(const warp::Table& table, std::uint64_t piece_bytes);

/// Bytes that hold any of the pieces.
[[nodiscard]] std::uint64_t longest(const std::vector<Piece>& pieces) noexcept;

}  // namespace stillbit::cuda
