#pragma once

#include "warp/bit_writer.hpp"
#include "warp/expand.hpp"
#include "warp/last_writers.hpp"
#include "warp/slots.hpp"

// How warps fetch the rows of a dense tensor, have them encoded, and put them into the slots of a table whose plan and
// stride are there already: the same for all codecs. While a row is encoded, the next ones are on their way into a ring
// of stages in shared memory.
//
// A row that is written must not be read at the same time. Of a row that is named twice one must be chosen beforehand
// (last_writers.hpp), or its slot may end up with parts of both.

namespace stillbit::warp {

/// What is asked for.
struct CompressRequest {
  const std::byte* src = nullptr;       ///< rows, back to back, at any address
  const std::int64_t* index = nullptr;  ///< the row of the table that each becomes; null: first_row and those behind it
  std::uint64_t first_row = 0;
  std::uint64_t num_rows = 0;
  LastWriters last_writers = {};      ///< without cells: no row is named twice
  std::uint32_t batch_rows = kLanes;  ///< rows that a warp takes at a time, at most kLanes
  bool has_old_rows = false;          ///< the slots hold rows: their tails are used again
};

/// A row, and where it goes.
struct CompressItem {
  std::uintptr_t src = 0;  ///< 0: nothing is wanted
  std::uint64_t row = 0;
  Tail had;
};

/// A warp's part of the shared memory, and how it is used.
struct CompressStages {
  std::byte* data = nullptr;      ///< num_stages × stage_bytes, aligned to 16
  CompressItem* items = nullptr;  ///< one for each stage
  std::byte* output = nullptr;    ///< stage_bytes, aligned to 16: where rows are encoded
  std::byte* scratch = nullptr;   ///< kScratchBytes, aligned to 16
  std::uint32_t stage_bytes = 0;
  std::uint32_t num_stages = 0;  ///< at most kMaxStages
};

/// Bytes of a stage that holds a row, as it is or encoded.
STILLBIT_WARP std::uint32_t compress_stage_bytes(std::uint32_t row_bytes) {
  return (row_bytes + kStageSlack + 31) / 16 * 16;
}

/// Lane by lane: row `number` of a request.
template <class Warp>
STILLBIT_WARP CompressItem compress_item_at(Warp& warp, const SlotTable& table, const CompressRequest& request,
                                            std::uint64_t number, Status* status) {
  CompressItem item;
  if (number >= request.num_rows) return item;
  item.row = request.first_row + number;
  if (request.index != nullptr) item.row = static_cast<std::uint64_t>(request.index[number]);
  if (item.row >= table.num_rows) {
    report(warp, status, Fault::kIndexOutOfRange, number);
    return item;
  }
  if (request.last_writers.cells != nullptr && !is_last(request.last_writers, request.index, number)) return item;
  if (request.has_old_rows && table.stride != table.row_bytes) item.had = tail_of(table, item.row);
  item.src = reinterpret_cast<std::uintptr_t>(request.src) + number * table.row_bytes;
  return item;
}

/// Requests a row's bytes, in whole aligned pieces of 16. Only what belongs to the source is read: pieces at its ends
/// are put together at once.
template <class Warp>
STILLBIT_WARP void request_row(Warp& warp, const CompressRequest& request, std::uint32_t row_bytes,
                               const CompressItem& item, std::byte* stage) {
  const auto begin = reinterpret_cast<std::uintptr_t>(request.src);
  const std::uintptr_t end = begin + request.num_rows * row_bytes;
  const auto skipped = static_cast<std::uint32_t>(item.src % 16);
  const std::uint32_t num_bytes = item.src == 0 ? 0 : skipped + row_bytes;
  warp.each([&](unsigned lane) {
    for (std::uint32_t at = lane * 16; at < num_bytes; at += kLanes * 16) {
      const std::uintptr_t piece = item.src - skipped + at;
      if (piece >= begin && piece + 16 <= end) {
        warp.copy_async(stage + at, reinterpret_cast<const std::byte*>(piece));
        continue;
      }
      for (unsigned i = 0; i < 16; ++i) {
        if (piece + i >= begin && piece + i < end) stage[at + i] = *reinterpret_cast<const std::byte*>(piece + i);
      }
    }
  });
  warp.commit_copies();
}

/// Zeros where a row is encoded.
template <class Warp>
STILLBIT_WARP void clear(Warp& warp, std::byte* memory, std::uint32_t num_bytes) {
  warp.each([&](unsigned lane) {
    for (std::uint32_t at = lane * 16; at < num_bytes; at += kLanes * 16)
      *reinterpret_cast<AlignedWords<4>*>(memory + at) = {};
  });
}

/// Encodes a row that has arrived in its stage and stores it. False where the overflow area has no room for it.
template <class Encoder, class Warp>
STILLBIT_WARP bool compress_item(Warp& warp, const SlotTable& table, const typename Encoder::Plan& plan,
                                 const CompressItem& item, std::byte* stage, const CompressStages& stages) {
  const RowMemory raw{stage, static_cast<std::uint32_t>(item.src % 16), table.row_bytes};
  if (table.stride == table.row_bytes) {
    store_run(warp, raw.run(0, table.row_bytes), table.slots + item.row * table.stride);
    return true;
  }
  clear(warp, stages.output, stages.stage_bytes);
  warp.sync();
  const std::uint32_t num_bytes = Encoder::encode(warp, plan, raw.run(0, table.row_bytes),
                                                  reinterpret_cast<std::uint32_t*>(stages.output), stages.scratch);
  warp.sync();
  const bool is_raw = num_bytes == kStoredRaw;
  const RowMemory stored{is_raw ? raw.memory : stages.output, is_raw ? raw.first_byte : 0,
                         is_raw ? raw.num_bytes : num_bytes};
  return fill_slot(warp, table, item.row, stored, is_raw, item.had);
}

/// One of `num_warps` warps' part of a request. Rows are dealt out in batches; all lanes look up a batch's rows at
/// once. Nothing is written where the pass over the index has found a row that is not there.
template <class Encoder, class Warp>
STILLBIT_WARP void compress(Warp& warp, const SlotTable& table, const typename Encoder::Plan& plan,
                            const CompressRequest& request, const CompressStages& stages, std::uint64_t warp_number,
                            std::uint64_t num_warps, Status* status) {
  if (request.last_writers.cells != nullptr && status->fault == static_cast<std::uint32_t>(Fault::kIndexOutOfRange)) {
    return;
  }
  const std::uint64_t num_batches = (request.num_rows + request.batch_rows - 1) / request.batch_rows;
  std::uint32_t num_requested = 0;  // these count modulo the ring
  std::uint32_t num_stored = 0;
  const auto store_oldest = [&] {
    const std::uint32_t stage = num_stored % stages.num_stages;
    warp.wait_copies(num_requested - num_stored - 1);
    const CompressItem item = stages.items[stage];
    if (item.src != 0 &&
        !compress_item<Encoder>(warp, table, plan, item, stages.data + stage * stages.stage_bytes, stages)) {
      warp.each([&](unsigned lane) {
        if (lane == 0) report(warp, status, Fault::kNoSpace, item.row);
      });
    }
    warp.sync();  // the stage is free again
    ++num_stored;
  };
  PerLane<Warp, CompressItem> items;  // of a batch, and how many of them are requested
  std::uint32_t num_taken = 0;
  const auto request_next = [&](std::uint64_t batch) {
    if (num_taken == 0) {
      warp.each([&](unsigned lane) {
        if (lane < request.batch_rows)
          items[lane] = compress_item_at(warp, table, request, batch * request.batch_rows + lane, status);
      });
    }
    const std::uint32_t stage = num_requested % stages.num_stages;
    warp.each([&](unsigned lane) {
      if (lane == num_taken) stages.items[stage] = items[lane];
    });
    warp.sync();
    request_row(warp, request, table.row_bytes, stages.items[stage], stages.data + stage * stages.stage_bytes);
    ++num_requested;
  };
  for (std::uint64_t batch = warp_number;;) {
    while (batch < num_batches && num_requested - num_stored < stages.num_stages) {
      request_next(batch);
      num_taken = (num_taken + 1) % request.batch_rows;
      if (num_taken == 0) batch += num_warps;
    }
    if (num_requested == num_stored) return;
    store_oldest();
  }
}

}  // namespace stillbit::warp
