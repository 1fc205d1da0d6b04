#pragma once

#include "warp/output.hpp"
#include "warp/table.hpp"

// How warps fetch tiles and have them expanded: the same for all codecs. While a tile is expanded, the next ones are on
// their way into a ring of stages in shared memory. A stage holds a whole tile, requested at once: nothing in a row
// says where more of it has to be read, but for the rare tail in the overflow area.

namespace stillbit::warp {

/// What is asked for.
struct Request {
  const void* index = nullptr;  ///< rows; null: tiles from first_tile on, in order
  std::uint64_t first_tile = 0;
  const std::int64_t* positions = nullptr;  ///< the row of `out` that each goes to; null: the same order
  std::byte* out = nullptr;
  std::uint64_t num_items = 0;  ///< rows × tiles_per_row, or tiles
  std::uint32_t tiles_per_row = 1;
  std::uint32_t batch_items = kLanes;  ///< items that a warp takes at a time, at most kLanes
  bool is_wide_index = true;           ///< 64 bits
};

/// A tile, and what is wanted of it.
struct Item {
  std::uint64_t tile = 0;  ///< stored
  Place place;
  Output out;
};

/// Bytes in front of a tile in its stage, so that 16 bytes are copied to where they are aligned, and behind it.
inline constexpr std::uint32_t kStageSlack = 16 + kSectionSlack;

inline constexpr std::uint32_t kMaxStages = 8;

/// A warp's part of the shared memory, and how it is used.
struct Stages {
  std::byte* data = nullptr;     ///< num_stages × stage_bytes, aligned to 16
  Item* items = nullptr;         ///< one for each stage
  std::byte* scratch = nullptr;  ///< kScratchBytes, aligned to 16
  std::uint32_t stage_bytes = 0;
  std::uint32_t num_stages = 0;  ///< at most kMaxStages
};

/// Bytes of a stage that holds any tile of the table: also one that is put together from a slot and its tail.
STILLBIT_WARP std::uint32_t stage_bytes_for(const Table& table) {
  const std::uint64_t longest = table.is_slotted ? table.row_unit : 0;
  const std::uint64_t tile = longest > table.tile_bytes ? longest : table.tile_bytes;
  return static_cast<std::uint32_t>((tile + kStageSlack + 31) / 16 * 16);
}

/// Lane by lane: what of bytes `begin` to `end` of the tensor lies in a tile; byte 0 of the tensor would go to
/// `origin`. False, and a report, if the tile is malformed. An item of which nothing is wanted has an empty output.
template <class Warp>
STILLBIT_WARP bool part_in_tile(Warp& warp, const Table& table, std::uint64_t tile, std::uint64_t begin,
                                std::uint64_t end, std::uintptr_t origin, Status* status, Item& item) {
  const std::uint64_t first_byte = tile * table.tile_bytes;
  if (first_byte >= end) return true;
  if (begin < first_byte) begin = first_byte;
  if (first_byte + table.tile_bytes < end) end = first_byte + table.tile_bytes;
  item.tile = stored_tile(table, tile);
  item.place = place_of(table, item.tile);
  if (!item.place.is_sound) {
    report(warp, status, Fault::kCorruptRow, item.tile);
    return false;
  }
  item.out = {origin + first_byte, static_cast<std::uint32_t>(begin - first_byte),
              static_cast<std::uint32_t>(end - first_byte)};
  return true;
}

/// A row that lies raw in nearer memory: a tile that is stored raw, and lies so far from the others.
STILLBIT_WARP Item fast_item(const Table& table, std::uint64_t place, std::uintptr_t out) {
  const std::uintptr_t src = reinterpret_cast<std::uintptr_t>(table.fast_rows) + place * table.row_bytes;
  Item item;
  item.place = {src - reinterpret_cast<std::uintptr_t>(table.rows), table.tile_bytes, true};
  item.out = {out, 0, table.tile_bytes};
  return item;
}

/// The same of a row, in the `number`-th of the tiles that it touches; the row goes to `out`. Precondition: the row is
/// there, and rows have bytes.
template <class Warp>
STILLBIT_WARP bool part_of_row(Warp& warp, const Table& table, std::uint64_t row, std::uint32_t number,
                               std::uintptr_t out, Status* status, Item& item) {
  if (const std::uint32_t place = fast_place_of(table, row); place != 0) {
    item = fast_item(table, place - 1, out);
    return true;
  }
  const std::uint64_t begin = row * table.row_bytes;
  return part_in_tile(warp, table, begin / table.tile_bytes + number, begin, begin + table.row_bytes, out - begin,
                      status, item);
}

/// Number `position` of an index.
STILLBIT_WARP std::int64_t integer_at(const void* integers, bool is_wide, std::uint64_t position) {
  return is_wide ? static_cast<const std::int64_t*>(integers)[position]
                 : static_cast<const std::int32_t*>(integers)[position];
}

/// Lane by lane: item `number` of a request.
template <class Warp>
STILLBIT_WARP Item item_at(Warp& warp, const Table& table, const Request& request, std::uint64_t number,
                           Status* status) {
  Item item;
  if (number >= request.num_items) return item;
  const auto out = reinterpret_cast<std::uintptr_t>(request.out);
  if (request.index == nullptr) {
    const std::uint64_t end = table.num_rows * table.row_bytes;
    part_in_tile(warp, table, request.first_tile + number, 0, end, out, status, item);
    return item;
  }
  const std::uint64_t position = number / request.tiles_per_row;
  const auto row = static_cast<std::uint64_t>(integer_at(request.index, request.is_wide_index, position));
  if (row >= table.num_rows) {
    report(warp, status, Fault::kIndexOutOfRange, position);
    return item;
  }
  if (table.row_bytes == 0) return item;
  const std::uint64_t to =
      request.positions == nullptr ? position : static_cast<std::uint64_t>(request.positions[position]);
  part_of_row(warp, table, row, static_cast<std::uint32_t>(number % request.tiles_per_row), out + to * table.row_bytes,
              status, item);
  return item;
}

/// Memory is read in lines of so many bytes: the largest request over a link.
inline constexpr std::uint32_t kLineBytes = 128;

/// Requests a tile's bytes, in whole aligned pieces of 16. A GPU makes one request of what eight neighbouring lanes ask
/// for in one line of memory. So steps begin at lines, wherever the tile does: eight lanes at once ask for each of its
/// lines, and none is asked for twice.
template <class Warp>
STILLBIT_WARP void request_tile(Warp& warp, const Table& table, const Item& item, std::byte* stage) {
  constexpr std::uint32_t kStepBytes = kLanes * 16;
  const std::uint64_t skipped = item.place.begin % 16;
  // The sum may wrap around: fast rows may lie below the others.
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(table.rows) + (item.place.begin - skipped);
  const auto* const src = reinterpret_cast<const std::byte*>(first);
  const auto within_line = static_cast<std::uint32_t>(first % kLineBytes);
  const std::uint32_t num_bytes = item.out.end == 0 ? 0 : item.place.num_bytes + static_cast<std::uint32_t>(skipped);
  for (std::uint32_t step = 0; step < num_bytes + within_line; step += kStepBytes) {
    warp.each([&](unsigned lane) {
      const std::uint32_t at = step + lane * 16 - within_line;  // in front of the tile a large number
      if (at < num_bytes) warp.copy_async(stage + at, src + at);
    });
  }
  warp.commit_copies();
}

/// Puts the tail of a slot's row behind its head. False if the slot is malformed.
template <class Warp>
STILLBIT_WARP bool fetch_tail(Warp& warp, const Table& table, std::uint32_t* stage, ByteRun& row) {
  const std::uint32_t head_bytes = row.num_bytes - kSlotTrailerBytes;
  const std::uint64_t offset = row.bits_64(head_bytes * 8, 64);
  const std::uint32_t tail_bytes = row.bits((head_bytes + 8) * 8, 32);
  if (offset > table.overflow_bytes || tail_bytes > table.overflow_bytes - offset) return false;
  if (tail_bytes > table.tile_bytes - head_bytes) return false;
  warp.sync();  // the trailer is overwritten
  auto* dst = reinterpret_cast<std::byte*>(stage) + row.first_byte + head_bytes;
  const ByteRun tail{reinterpret_cast<const std::uint32_t*>(table.overflow + offset / 4 * 4),
                     static_cast<std::uint32_t>(offset % 4), tail_bytes};
  warp.each([&](unsigned lane) {
    STILLBIT_UNROLL
    for (std::uint32_t at = lane; at < tail_bytes; at += kLanes) dst[at] = static_cast<std::byte>(tail.byte(at));
  });
  warp.sync();
  row.num_bytes = head_bytes + tail_bytes;
  return true;
}

/// Expands a tile that has arrived in its stage. False if it is malformed.
template <class Codec, class Warp>
STILLBIT_WARP bool expand_item(Warp& warp, const Table& table, const typename Codec::Plan& plan, const Item& item,
                               std::byte* stage, std::byte* scratch) {
  auto* const words = reinterpret_cast<std::uint32_t*>(stage);
  ByteRun row{words, static_cast<std::uint32_t>(item.place.begin % 16), item.place.num_bytes};
  bool is_raw = row.num_bytes == table.tile_bytes;
  if (table.is_slotted && !is_raw) {
    const auto tag = static_cast<SlotTag>(row.byte(row.num_bytes - kSlotTagBytes));
    if (tag == SlotTag::kInline) {
      row.num_bytes -= kSlotTagBytes;
    } else {
      is_raw = tag == SlotTag::kRawTail;
      if (!is_raw && tag != SlotTag::kEncodedTail) return false;
      if (!fetch_tail(warp, table, words, row)) return false;
      if (is_raw != (row.num_bytes == table.tile_bytes)) return false;
    }
  }
  if (!is_raw) return Codec::decode(warp, plan, row, item.out, scratch);
  store_raw(warp, row, item.out);
  return true;
}

/// One of `num_warps` warps' part of a request. Items are dealt out in batches; all lanes look up a batch's items at
/// once.
template <class Codec, class Warp>
STILLBIT_WARP void expand(Warp& warp, const Table& table, const typename Codec::Plan& plan, const Request& request,
                          const Stages& stages, std::uint64_t warp_number, std::uint64_t num_warps, Status* status) {
  const std::uint64_t num_batches = (request.num_items + request.batch_items - 1) / request.batch_items;
  std::uint32_t num_requested = 0;  // these count modulo the ring
  std::uint32_t num_expanded = 0;
  const auto expand_oldest = [&] {
    const std::uint32_t slot = num_expanded % stages.num_stages;
    warp.wait_copies(num_requested - num_expanded - 1);
    const Item item = stages.items[slot];
    if (item.out.end != 0 &&
        !expand_item<Codec>(warp, table, plan, item, stages.data + slot * stages.stage_bytes, stages.scratch)) {
      warp.each([&](unsigned lane) {
        if (lane == 0) report(warp, status, Fault::kCorruptRow, item.tile);
      });
    }
    warp.sync();  // the stage is free again
    ++num_expanded;
  };
  // One loop, so that the code which expands is there once: it is long, and an instruction cache is small.
  PerLane<Warp, Item> items;
  std::uint64_t batch = warp_number;
  unsigned next = 0;  // of the batch's items
  for (;;) {
    if (batch >= num_batches || num_requested - num_expanded == stages.num_stages) {
      if (num_requested == num_expanded) return;
      expand_oldest();
      continue;
    }
    if (next == 0) {
      warp.each([&](unsigned lane) {
        if (lane < request.batch_items)
          items[lane] = item_at(warp, table, request, batch * request.batch_items + lane, status);
      });
    }
    const std::uint32_t slot = num_requested % stages.num_stages;
    warp.each([&](unsigned lane) {
      if (lane == next) stages.items[slot] = items[lane];
    });
    warp.sync();
    request_tile(warp, table, stages.items[slot], stages.data + slot * stages.stage_bytes);
    ++num_requested;
    if (++next == request.batch_items) {
      next = 0;
      batch += num_warps;
    }
  }
}

}  // namespace stillbit::warp
