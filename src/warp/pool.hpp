#pragma once

#include "warp/expand.hpp"
#include "warp/sums.hpp"

#include <type_traits>

// How warps pool rows as they expand them, for all codecs, and for several tables at once. A bag is one warp's, which
// expands its rows one after the other into shared memory, where the codec takes them for an output, and adds them to
// sums that lie beside. Rows are added in the order of the index, so that the result is the one of the CPU.
//
// Bags are dealt out in batches. Rows to come are on their way into the ring of stages while one is expanded, across
// the ends of bags, batches and tables.

namespace stillbit::warp {

/// Bags of rows of one table.
struct BagRequest {
  const void* index = nullptr;
  const void* offsets = nullptr;       ///< where each bag begins; one more if has_last_offset
  const std::byte* weights = nullptr;  ///< null, or an element for each number of the index
  std::byte* out = nullptr;            ///< the result of bag 0
  std::uint64_t out_stride = 0;        ///< from that to the next bag's, in bytes
  std::uint64_t num_index = 0;         ///< below 2^32
  std::uint64_t num_bags = 0;
  std::uint64_t padding = ~std::uint64_t{0};  ///< a row that is left out; has_padding says whether there may be one
  std::uint32_t tiles_per_row = 1;
  Element element = Element::kF32;
  Pooling pooling = Pooling::kSum;
  bool has_padding = false;
  bool has_last_offset = false;
  bool is_wide_index = true;
  bool is_wide_offsets = true;
};

/// A table, and its bags.
struct BagTable {
  Table table;
  BagRequest request;
  const void* plan = nullptr;
  Status* status = nullptr;
  std::uint64_t first_batch = 0;  ///< batches of the tables before
};

/// All that is asked for. Tables are of one codec, and of words of one size.
struct BagTables {
  const BagTable* tables = nullptr;
  std::uint32_t num_tables = 0;
  std::uint32_t batch_bags = kLanes;  ///< bags that a warp takes at a time, at most kLanes
  std::uint64_t num_batches = 0;
};

/// A tile of a row of a bag.
struct TileOfBag {
  Item item;                 ///< nothing is wanted of padding
  std::uint64_t weight = 0;  ///< the word of the row's factor
  bool is_padding = false;
  bool is_sound = false;
};

/// One on its way, and what it is of its bag.
struct BagItem {
  TileOfBag tile;
  std::uint64_t bag = 0;
  std::uint32_t table = 0;
  bool begins_bag = false;
  bool ends_bag = false;
  bool ends_row = false;
};

/// Bytes that a warp needs besides its stages. An expanded row and sums have room for whole groups of columns.
struct BagMemory {
  std::uint32_t row_bytes = 0;
  std::uint32_t sums_bytes = 0;

  static constexpr auto kAheadBytes = kLanes * static_cast<std::uint32_t>(sizeof(TileOfBag));
  static constexpr std::uint32_t kEndsBytes = kLanes * 4;
  static constexpr auto kItemsBytes = kMaxStages * static_cast<std::uint32_t>(sizeof(BagItem));
  static_assert(kAheadBytes % 16 == 0 && kItemsBytes % 16 == 0);

  [[nodiscard]] STILLBIT_WARP std::uint32_t num_bytes() const {
    return kAheadBytes + kItemsBytes + kEndsBytes + row_bytes + sums_bytes;
  }

  /// Enough for another table, too.
  STILLBIT_WARP void hold(const BagTable& of) {
    const auto row = (static_cast<std::uint32_t>(of.table.row_bytes) + kGroupBytes - 1) / kGroupBytes * kGroupBytes;
    const bool is_half = of.request.element == Element::kF16 || of.request.element == Element::kBF16;
    const std::uint32_t sums = is_half ? 2 * row : row;  // maxima are words
    row_bytes = row > row_bytes ? row : row_bytes;
    sums_bytes = sums > sums_bytes ? sums : sums_bytes;
  }

 private:
  static constexpr std::uint32_t kGroupBytes = kSumColumns * 8;
};

/// A warp's part of the shared memory, all of it aligned to 16.
struct BagStages {
  std::byte* stages = nullptr;   ///< num_stages × stage_bytes
  std::byte* scratch = nullptr;  ///< kScratchBytes
  std::byte* work = nullptr;     ///< memory.num_bytes()
  BagMemory memory;
  std::uint32_t stage_bytes = 0;
  std::uint32_t num_stages = 0;  ///< at most kMaxStages

  /// One for each lane, which no other lane looks at: registers are for what expands.
  [[nodiscard]] STILLBIT_WARP TileOfBag* ahead() const { return reinterpret_cast<TileOfBag*>(work); }
  /// One for each stage.
  [[nodiscard]] STILLBIT_WARP BagItem* items() const {
    return reinterpret_cast<BagItem*>(work + BagMemory::kAheadBytes);
  }
  /// Where the bags of a batch end, one for each lane.
  [[nodiscard]] STILLBIT_WARP std::uint32_t* ends() const {
    return reinterpret_cast<std::uint32_t*>(work + BagMemory::kAheadBytes + BagMemory::kItemsBytes);
  }
  [[nodiscard]] STILLBIT_WARP std::byte* row() const {
    return work + BagMemory::kAheadBytes + BagMemory::kItemsBytes + BagMemory::kEndsBytes;
  }
  [[nodiscard]] STILLBIT_WARP std::byte* sums() const { return row() + memory.row_bytes; }
};

/// Where the result of a bag goes.
STILLBIT_WARP Output result_of(const BagTable& of, std::uint64_t bag) {
  return {reinterpret_cast<std::uintptr_t>(of.request.out) + bag * of.request.out_stride, 0,
          static_cast<std::uint32_t>(of.table.row_bytes)};
}

/// Where a warp is among the bags: batches, the bags of one, and the tiles of their rows, of which all lanes look up
/// kLanes at once. Positions in an index are numbers of 32 bits.
template <class Warp>
class BagCursor {
 public:
  STILLBIT_WARP BagCursor(const BagTables& tables, std::uint64_t warp_number, std::uint64_t num_warps,
                          const BagStages& memory)
      : tables_(tables), next_batch_(warp_number), num_warps_(num_warps), memory_(memory) {}

  /// The next tile, into `item`, which all lanes see after a sync. False if there are no more.
  STILLBIT_WARP bool next(Warp& warp, BagItem* item) {
    while (position_ == end_) {
      if (next_batch_ >= tables_.num_batches) return false;
      open_batch(warp);
      next_batch_ += num_warps_;
    }
    const BagTable& of = tables_.tables[table_];
    if (lane_of_next_ == 0) {
      warp.each([&](unsigned lane) { memory_.ahead()[lane] = tile_at(warp, of, lane); });
    }
    const bool begins_bag = position_ == bag_end_;
    while (position_ == bag_end_) {
      ++bag_;
      PerLane<Warp, std::uint32_t> ends;
      warp.each([&](unsigned lane) { ends[lane] = memory_.ends()[lane]; });
      bag_end_ = warp.broadcast(ends, bag_);
    }
    const bool ends_row = tile_of_row_ + 1 == of.request.tiles_per_row;
    const bool ends_bag = ends_row && position_ + 1 == bag_end_;
    warp.each([&](unsigned lane) {
      if (lane == lane_of_next_)
        *item = {memory_.ahead()[lane], first_bag(of) + bag_, table_, begins_bag, ends_bag, ends_row};
    });
    lane_of_next_ = (lane_of_next_ + 1) % kLanes;
    tile_of_row_ = ends_row ? 0 : tile_of_row_ + 1;
    position_ += ends_row ? 1 : 0;
    return true;
  }

 private:
  /// Of the batch that is open.
  [[nodiscard]] STILLBIT_WARP std::uint64_t first_bag(const BagTable& of) const {
    return (next_batch_ - num_warps_ - of.first_batch) * tables_.batch_bags;
  }

  /// Lane by lane: the tile `ahead` tiles behind the next one.
  STILLBIT_WARP TileOfBag tile_at(Warp& warp, const BagTable& of, unsigned ahead) const {
    TileOfBag found;
    const BagRequest& request = of.request;
    const std::uint32_t num_tiles = tile_of_row_ + ahead;
    const std::uint32_t num_rows = request.tiles_per_row == 1 ? ahead : num_tiles / request.tiles_per_row;
    if (num_rows >= end_ - position_) return found;
    const std::uint32_t position = position_ + num_rows;
    const auto row = static_cast<std::uint64_t>(integer_at(request.index, request.is_wide_index, position));
    if (row >= of.table.num_rows) {
      report(warp, of.status, Fault::kIndexOutOfRange, position);
      return found;
    }
    found.is_padding = request.has_padding && row == request.padding;
    if (request.weights != nullptr) found.weight = word_at(request.weights, request.element, position);
    found.is_sound =
        found.is_padding || part_of_row(warp, of.table, row, num_tiles - num_rows * request.tiles_per_row,
                                        reinterpret_cast<std::uintptr_t>(memory_.row()), of.status, found.item);
    return found;
  }

  /// Finds where the bags of the next batch begin and end. Those without rows are done at once.
  STILLBIT_WARP void open_batch(Warp& warp) {
    while (table_ + 1 < tables_.num_tables && next_batch_ >= tables_.tables[table_ + 1].first_batch) ++table_;
    const BagTable& of = tables_.tables[table_];
    const BagRequest& request = of.request;
    const std::uint64_t first_bag = (next_batch_ - of.first_batch) * tables_.batch_bags;
    const std::uint64_t num_left = request.num_bags - first_bag;
    const auto num_bags = static_cast<unsigned>(num_left < tables_.batch_bags ? num_left : tables_.batch_bags);
    PerLane<Warp, std::uint32_t> begins;
    PerLane<Warp, std::uint32_t> ends;
    PerLane<Warp, bool> is_sound;
    PerLane<Warp, bool> is_empty;
    warp.each([&](unsigned lane) {
      is_empty[lane] = false;
      is_sound[lane] = true;
      begins[lane] = ends[lane] = 0;
      if (lane >= num_bags) return;
      const std::uint64_t bag = first_bag + lane;
      const auto offset = [&](std::uint64_t i) {
        return static_cast<std::uint64_t>(integer_at(request.offsets, request.is_wide_offsets, i));
      };
      const std::uint64_t begin = offset(bag);
      const bool ends_with_index = bag + 1 == request.num_bags && !request.has_last_offset;
      const std::uint64_t end = ends_with_index ? request.num_index : offset(bag + 1);
      is_sound[lane] = begin <= end && end <= request.num_index;
      is_empty[lane] = begin == end;
      begins[lane] = static_cast<std::uint32_t>(begin);
      memory_.ends()[lane] = ends[lane] = static_cast<std::uint32_t>(end);
      if (!is_sound[lane]) report(warp, of.status, Fault::kBadOffset, bag);
    });
    if (!all(warp, is_sound)) return;  // where one is wrong its neighbours may be
    for (std::uint32_t left = warp.ballot(is_empty); left != 0; left &= left - 1) {
      const Output out = result_of(of, first_bag + lowest_one(left));
      warp.each([&](unsigned lane) {
        constexpr std::uint32_t kZeros[4] = {};
        for (std::uint32_t at = lane * 16; at < out.end; at += kLanes * 16) store_bytes<16>(out, at, kZeros);
      });
    }
    position_ = bag_end_ = warp.broadcast(begins, 0);
    end_ = warp.broadcast(ends, num_bags - 1);
    bag_ = ~0U;  // the first is the one behind
    tile_of_row_ = 0;
    lane_of_next_ = 0;
  }

  const BagTables& tables_;
  std::uint64_t next_batch_;
  std::uint64_t num_warps_;
  const BagStages& memory_;
  std::uint32_t table_ = 0;
  // Of the batch.
  std::uint32_t end_ = 0;  ///< the position behind its last row
  // Of the next tile.
  std::uint32_t position_ = 0;
  std::uint32_t tile_of_row_ = 0;
  unsigned lane_of_next_ = 0;
  std::uint32_t bag_ = 0;  ///< of the batch
  std::uint32_t bag_end_ = 0;
};

/// What is known of the bag whose rows are being added.
struct OpenBag {
  std::uint32_t num_rows = 0;
  bool is_sound = true;
};

/// Expands a tile that has arrived in its stage, adds the row if it is the last of one, and writes the result if that
/// is the last of its bag. A bag with a row that is not there, or malformed, is not written.
template <class Codec, class Warp>
STILLBIT_WARP void pool_item(Warp& warp, const BagTable& of, const BagItem& item, std::byte* stage,
                             const BagStages& memory, OpenBag& bag) {
  const BagRequest& request = of.request;
  if (item.begins_bag) bag = {};
  bag.is_sound = bag.is_sound && item.tile.is_sound;
  if (bag.is_sound && item.tile.item.out.end != 0) {
    const Item tile = item.tile.item;
    bag.is_sound = expand_item<Codec>(warp, of.table, *static_cast<const typename Codec::Plan*>(of.plan), tile, stage,
                                      memory.scratch);
    if (!bag.is_sound) {
      warp.each([&](unsigned lane) {
        if (lane == 0) report(warp, of.status, Fault::kCorruptRow, item.tile.item.tile);
      });
    }
  }
  const Addition how{request.pooling, request.weights != nullptr, request.has_padding};
  if (item.ends_row && !item.tile.is_padding && bag.is_sound) {
    warp.sync();
    add_row(warp, request.element, how, memory.row(), static_cast<std::uint32_t>(of.table.row_bytes), item.tile.weight,
            bag.num_rows == 0, memory.sums());
    ++bag.num_rows;
  }
  if (item.ends_bag && bag.is_sound)
    write_sums(warp, request.element, how, memory.sums(), bag.num_rows, result_of(of, item.bag));
}

/// One of `num_warps` warps' part of all bags.
template <class Codec, class Warp>
STILLBIT_WARP void pool(Warp& warp, const BagTables& tables, const BagStages& memory, std::uint64_t warp_number,
                        std::uint64_t num_warps) {
  BagCursor<Warp> cursor(tables, warp_number, num_warps, memory);
  OpenBag bag;
  std::uint32_t num_requested = 0;  // these count modulo the ring
  std::uint32_t num_pooled = 0;
  // One loop, so that the code which expands is there once.
  for (;;) {
    const std::uint32_t next = num_requested % memory.num_stages;
    if (num_requested - num_pooled < memory.num_stages && cursor.next(warp, memory.items() + next)) {
      warp.sync();
      const BagItem& item = memory.items()[next];
      request_tile(warp, tables.tables[item.table].table, item.tile.item, memory.stages + next * memory.stage_bytes);
      ++num_requested;
      continue;
    }
    if (num_requested == num_pooled) return;
    const std::uint32_t oldest = num_pooled % memory.num_stages;
    warp.wait_copies(num_requested - num_pooled - 1);
    const BagItem& item = memory.items()[oldest];  // left in memory: registers are for what expands
    pool_item<Codec>(warp, tables.tables[item.table], item, memory.stages + oldest * memory.stage_bytes, memory, bag);
    warp.sync();  // the stage, and the row's memory, are free again
    ++num_pooled;
  }
}

}  // namespace stillbit::warp
