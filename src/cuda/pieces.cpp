#include "cuda/pieces.hpp"

#include <algorithm>
#include <string>

namespace stillbit::cuda {

Result<std::vector<Piece>> cut_into_pieces(const warp::Table& table, std::uint64_t piece_bytes) {
  std::vector<Piece> pieces;
  if (table.has_map || table.rows_bytes == 0) return pieces;
  const std::uint64_t mean = std::max<std::uint64_t>(1, table.rows_bytes / table.num_stored_tiles);
  const std::uint64_t tiles_per_piece = std::max<std::uint64_t>(1, piece_bytes / mean);
  for (std::uint64_t first = 0; first < table.num_stored_tiles; first += tiles_per_piece) {
    const std::uint64_t num_tiles = std::min(tiles_per_piece, table.num_stored_tiles - first);
    const warp::Place head = warp::place_of(table, first);
    const warp::Place tail = warp::place_of(table, first + num_tiles - 1);
    const std::uint64_t end = tail.begin + tail.num_bytes;
    if (!head.is_sound || !tail.is_sound || end < head.begin)
      return corrupt("the row index is malformed near stored row " + std::to_string(first));
    pieces.push_back({first, num_tiles, head.begin / kPieceAlignment * kPieceAlignment, end});
  }
  return pieces;
}

std::uint64_t longest(const std::vector<Piece>& pieces) noexcept {
  std::uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes = std::max(bytes, piece.end - piece.begin);
  return bytes;
}

}  // namespace stillbit::cuda
