#pragma once

#include "warp/lane_words.hpp"
#include "warp/table.hpp"

// How warps fill the slots of a slotted table (docs/format.md, "Packing 1: slotted").

namespace stillbit::warp {

/// What all warps count together. The area's first `used_bytes` bytes are taken; above its capacity it says how much
/// would have been enough.
struct OverflowUse {
  std::uint64_t used_bytes = 0;
  std::uint64_t unused_bytes = 0;  ///< of those, what rewritten rows left behind
};

/// A slotted table that is written. Its sections start at multiples of kSectionAlignment, with kSectionSlack bytes
/// behind the slots that are readable.
struct SlotTable {
  std::byte* slots = nullptr;
  std::byte* overflow = nullptr;
  OverflowUse* use = nullptr;  ///< in memory that all warps see
  std::uint64_t overflow_capacity = 0;
  std::uint64_t num_rows = 0;  ///< slots that there are
  std::uint64_t stride = 0;    ///< row_bytes where rows are raw
  std::uint32_t row_bytes = 0;
};

/// Where the end of a row is that does not fit its slot.
struct Tail {
  std::uint64_t offset = 0;
  std::uint32_t num_bytes = 0;
};

/// The tail of the row in a slot; none where it would not lie in the overflow area.
STILLBIT_WARP Tail tail_of(const SlotTable& table, std::uint64_t row) {
  const std::uint64_t at = (row + 1) * table.stride - kSlotTrailerBytes;
  const ByteRun trailer{reinterpret_cast<const std::uint32_t*>(table.slots + at / 4 * 4),
                        static_cast<std::uint32_t>(at % 4), kSlotTrailerBytes};
  if (static_cast<SlotTag>(trailer.byte(kSlotTrailerBytes - kSlotTagBytes)) == SlotTag::kInline) return {};
  const Tail tail{trailer.bits_64(0, 64), trailer.bits(64, 32)};
  if (tail.offset > table.overflow_capacity || tail.num_bytes > table.overflow_capacity - tail.offset) return {};
  return tail;
}

/// Stores a run of bytes at any address: pieces of 16 where that is aligned to them, neighbouring lanes neighbouring
/// ones.
template <class Warp>
STILLBIT_WARP void store_run(Warp& warp, const ByteRun& run, std::byte* dst) {
  const auto misalignment = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(dst) % 16);
  const std::uint32_t until_aligned = (16 - misalignment) % 16;
  const std::uint32_t head = until_aligned < run.num_bytes ? until_aligned : run.num_bytes;
  const std::uint32_t tail_at = head + (run.num_bytes - head) / 16 * 16;
  warp.each([&](unsigned lane) {
    for (std::uint32_t at = head + lane * 16; at < tail_at; at += kLanes * 16) {
      AlignedWords<4> piece;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < 4; ++i) piece.words[i] = run.bits((at + 4 * i) * 8, 32);
      *reinterpret_cast<AlignedWords<4>*>(dst + at) = piece;
    }
    // The ends are shorter than 16 bytes: half of the lanes for each.
    const bool is_head = lane < kLanes / 2;
    const std::uint32_t at = is_head ? lane : tail_at + lane - kLanes / 2;
    if (at < (is_head ? head : run.num_bytes)) dst[at] = static_cast<std::byte>(run.byte(at));
  });
}

/// A stored row in a warp's own memory: aligned to 16, with room for what is read behind it.
struct RowMemory {
  std::byte* memory = nullptr;
  std::uint32_t first_byte = 0;
  std::uint32_t num_bytes = 0;

  [[nodiscard]] STILLBIT_WARP ByteRun run(std::uint32_t from, std::uint32_t to) const {
    return {reinterpret_cast<const std::uint32_t*>(memory), first_byte + from, to - from};
  }
};

/// Takes a new place for a tail. False if there is none.
template <class Warp>
STILLBIT_WARP bool place_tail(Warp& warp, const SlotTable& table, Tail& tail) {
  PerLane<Warp, std::uint64_t> offset;
  warp.each([&](unsigned lane) {
    offset[lane] = lane == 0 ? warp.fetch_add(&table.use->used_bytes, std::uint64_t{tail.num_bytes}) : 0;
  });
  tail.offset = warp.broadcast(offset, 0);
  return tail.offset <= table.overflow_capacity && tail.num_bytes <= table.overflow_capacity - tail.offset;
}

/// Puts a stored row into its slot and what does not fit into the overflow area; the row's memory is changed. `had` is
/// the tail of the row that was there: the new one may take its place. False, with nothing written, where the overflow
/// area is full. Precondition: a row that is shorter than the slot has zeros behind it.
template <class Warp>
STILLBIT_WARP bool fill_slot(Warp& warp, const SlotTable& table, std::uint64_t row_number, const RowMemory& row,
                             bool is_raw, const Tail& had) {
  std::byte* const slot = table.slots + row_number * table.stride;
  const auto stride = static_cast<std::uint32_t>(table.stride);
  Tail tail{had.offset, 0};
  bool takes_place_of_old = true;
  if (row.num_bytes > stride - kSlotTagBytes) {
    const std::uint32_t head_bytes = stride - kSlotTrailerBytes;
    tail.num_bytes = row.num_bytes - head_bytes;
    takes_place_of_old = tail.num_bytes <= had.num_bytes;
    if (!takes_place_of_old && !place_tail(warp, table, tail)) return false;
    store_run(warp, row.run(head_bytes, row.num_bytes), table.overflow + tail.offset);
    warp.sync();  // the tail is read: the trailer takes its place
    const auto tag = static_cast<std::uint32_t>(is_raw ? SlotTag::kRawTail : SlotTag::kEncodedTail);
    warp.each([&](unsigned lane) {
      std::byte* const trailer = row.memory + row.first_byte + head_bytes;
      if (lane < 8) trailer[lane] = static_cast<std::byte>(tail.offset >> (8 * lane));
      if (lane >= 8 && lane < 12) trailer[lane] = static_cast<std::byte>(tail.num_bytes >> (8 * (lane - 8)));
      if (lane == 12) trailer[lane] = static_cast<std::byte>(tag);
    });
    warp.sync();
  }
  store_run(warp, row.run(0, stride), slot);
  const std::uint32_t left_behind = had.num_bytes - (takes_place_of_old ? tail.num_bytes : 0);
  if (left_behind != 0) {
    warp.each([&](unsigned lane) {
      if (lane == 0) warp.fetch_add(&table.use->unused_bytes, std::uint64_t{left_behind});
    });
  }
  return true;
}

}  // namespace stillbit::warp
