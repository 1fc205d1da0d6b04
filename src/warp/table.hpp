#pragma once

#include "warp/bits.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit::warp {

/// Bytes behind each section of a table that must be readable, and bytes that its start must be aligned to.
inline constexpr std::uint64_t kSectionSlack = 64;
inline constexpr std::uint64_t kSectionAlignment = 128;

/// The sections of a payload and what its header says of them, as a warp reads them (docs/format.md). The header is
/// valid; what the sections hold is checked when it is reached. Where memory is not all equally near, the rows and
/// their overflow are the far part: the map and the index, a few bits for each row, and only where the packing has
/// them, are read with one more round trip and should be near.
struct Table {
  const std::byte* map = nullptr;
  const std::byte* index = nullptr;
  const std::byte* rows = nullptr;
  const std::byte* overflow = nullptr;
  std::uint64_t rows_bytes = 0;  ///< of the section, all of it
  std::uint64_t overflow_bytes = 0;
  /// The part of the rows section that is there: `rows` is where its first byte would be.
  std::uint64_t present_begin = 0;
  std::uint64_t present_end = 0;

  /// Rows that lie raw in nearer memory: fast_slots[r] is 0, or one more than the place of row r among fast_rows. Null
  /// where there are none. Every row is a tile then.
  const std::uint32_t* fast_slots = nullptr;
  const std::byte* fast_rows = nullptr;
  std::uint64_t num_fast_rows = 0;

  std::uint64_t num_rows = 0;   ///< of the tensor
  std::uint64_t row_bytes = 0;  ///< of the tensor's rows
  std::uint64_t num_tiles = 0;
  std::uint64_t num_stored_tiles = 0;
  std::uint64_t row_unit = 0;
  std::uint32_t tile_bytes = 0;
  std::uint32_t index_bits = 0;
  std::uint32_t map_bits = 0;
  bool has_map = false;
  bool is_slotted = false;
};

/// What went wrong, and where: the first fault that a warp met.
enum class Fault : std::uint32_t { kNone = 0, kIndexOutOfRange = 1, kCorruptRow = 2, kNoSpace = 3, kBadOffset = 4 };

struct Status {
  std::uint32_t fault = 0;
  std::uint32_t reserved = 0;
  std::uint64_t where = 0;  ///< kIndexOutOfRange: position in the index; kBadOffset: the bag; else the stored tile
};

/// Precondition: inside each.
template <class Warp>
STILLBIT_WARP void report(Warp& warp, Status* status, Fault fault, std::uint64_t where) {
  if (warp.claim(&status->fault, static_cast<std::uint32_t>(fault))) status->where = where;
}

/// Where a stored tile lies in the rows section: `is_sound` if all of it is there.
struct Place {
  std::uint64_t begin = 0;
  std::uint32_t num_bytes = 0;
  bool is_sound = false;
};

/// The stored tile that a tile is.
STILLBIT_WARP std::uint64_t stored_tile(const Table& table, std::uint64_t tile) {
  return table.has_map ? bits_of(table.map, tile * table.map_bits, table.map_bits) : tile;
}

STILLBIT_WARP std::uint64_t packed_start(const Table& table, std::uint64_t tile) {
  constexpr std::uint64_t kBlockTiles = 64;
  const std::byte* entry = table.index + tile / kBlockTiles * (8 + 8 * table.index_bits);
  const std::uint64_t within = tile % kBlockTiles;
  // A hostile base must not wrap around into the section; what is added to it is far from doing so.
  constexpr std::uint64_t kMaxBase = std::uint64_t{1} << 62;
  const std::uint64_t base = *reinterpret_cast<const std::uint64_t*>(entry);
  return (base < kMaxBase ? base : kMaxBase) + within * table.row_unit +
         bits_of(entry + 8, within * table.index_bits, table.index_bits);
}

/// The bytes of a stored tile; of a slotted one its slot.
STILLBIT_WARP Place place_of(const Table& table, std::uint64_t tile) {
  if (tile >= table.num_stored_tiles) return {};
  std::uint64_t begin = tile * table.row_unit;
  std::uint64_t end = begin + table.row_unit;
  if (!table.is_slotted && table.index_bits != 0) {
    begin = packed_start(table, tile);
    end = tile + 1 < table.num_stored_tiles ? packed_start(table, tile + 1) : table.rows_bytes;
    if (begin > end || end - begin > table.tile_bytes) return {};
  }
  if (begin < table.present_begin || end > table.present_end) return {};
  return {begin, static_cast<std::uint32_t>(end - begin), true};
}

/// A row's place among those that lie raw in nearer memory, counted from 1; 0 if it does not.
STILLBIT_WARP std::uint32_t fast_place_of(const Table& table, std::uint64_t row) {
  if (table.fast_slots == nullptr) return 0;
  const std::uint32_t slot = table.fast_slots[row];
  return slot > table.num_fast_rows ? 0 : slot;
}

/// The fields of a slot that is not all row (docs/format.md, "Packing 1: slotted").
inline constexpr std::uint32_t kSlotTagBytes = 1;
inline constexpr std::uint32_t kSlotTrailerBytes = 13;
enum class SlotTag : std::uint32_t { kInline = 0, kEncodedTail = 1, kRawTail = 2 };

}  // namespace stillbit::warp
