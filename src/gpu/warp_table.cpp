#include "gpu/warp_table.hpp"

namespace stillbit {

Result<warp::Table> warp_table(const format::PayloadHeader& header) {
  if (header.tile_bytes > warp::kMaxRunBytes - warp::kStageSlack) {
    return unsupported("rows of " + std::to_string(header.tile_bytes) + " bytes: a GPU expands rows of up to " +
                       std::to_string(warp::kMaxRunBytes - warp::kStageSlack));
  }
  warp::Table table;
  table.rows_bytes = header.rows_bytes;
  table.overflow_bytes = header.overflow_bytes;
  table.present_end = header.rows_bytes;
  table.num_rows = header.geometry.num_rows;
  table.row_bytes = header.geometry.row_bytes;
  table.num_tiles = header.tiles().num_rows;
  table.num_stored_tiles = header.stored_tiles().num_rows;
  table.row_unit = header.row_unit;
  table.tile_bytes = static_cast<std::uint32_t>(header.tile_bytes);
  table.index_bits = header.index_bits;
  table.map_bits = header.map_bits();
  table.has_map = header.num_repeats > 0;
  table.is_slotted = header.packing == Packing::kSlotted;
  return table;
}

std::uint32_t tiles_per_row(const warp::Table& table) noexcept {
  if (table.tile_bytes == 0 || table.row_bytes == table.tile_bytes) return 1;
  if (table.row_bytes % table.tile_bytes == 0) return static_cast<std::uint32_t>(table.row_bytes / table.tile_bytes);
  if (table.tile_bytes % table.row_bytes == 0) return 1;
  return static_cast<std::uint32_t>((table.row_bytes + table.tile_bytes - 2) / table.tile_bytes + 1);
}

std::optional<warp::Element> warp_element(DType dtype) noexcept {
  switch (dtype) {
    case DType::kF16:
      return warp::Element::kF16;
    case DType::kBF16:
      return warp::Element::kBF16;
    case DType::kF32:
      return warp::Element::kF32;
    case DType::kF64:
      return warp::Element::kF64;
    default:
      return std::nullopt;
  }
}

warp::Pooling warp_pooling(PoolMode mode) noexcept {
  switch (mode) {
    case PoolMode::kSum:
      return warp::Pooling::kSum;
    case PoolMode::kMean:
      return warp::Pooling::kMean;
    default:
      return warp::Pooling::kMax;
  }
}

}  // namespace stillbit
