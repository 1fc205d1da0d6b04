#pragma once

#include "codecs/rans/lane.hpp"
#include "warp/output.hpp"

#include <type_traits>

// How a warp expands a row (spec.md). A lane has a state, and every 32nd column: a round expands 32 neighbouring
// columns, and the lanes whose states are low take the next words of the stream, in order.

namespace stillbit::rans {

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint64_t rest_mask = 0;  ///< as in WordShape
  std::uint64_t sign_mask = 0;
  SymbolRuns runs;
  std::uint32_t symbol_mask = 0;
  std::uint32_t fixed_bits = 0;
  std::uint32_t dropped_bits = 0;
  std::uint32_t symbol_at = 0;
  std::uint32_t sign_shift = 0;
  std::uint32_t scale_bits = 0;
  std::uint32_t num_columns = 0;
  std::uint32_t head_columns = 0;  ///< as in RowLayout, as what follows is
  std::uint32_t levels_at = 0;
  std::uint32_t fixed_at = 0;
  std::uint32_t stored_bytes = 0;
  std::uint32_t minimum_row_bytes = 0;
  std::uint32_t escape_index = 0;
  std::uint32_t escape_bytes = 0;  ///< of an escape's symbol; 0 where there are none
  std::uint32_t num_levels = 0;
  std::uint32_t level_bits = 0;
  std::uint32_t segment_columns = 0;
  std::uint32_t num_segments = 0;
  std::uint32_t period = 0;            ///< 0, or after how many columns their levels repeat
  std::uint32_t column_levels_at = 0;  ///< where they are: a byte each
  std::uint32_t slots_at = 0;          ///< where the slots of all tables are
};

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  using Number = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte* scratch);

 private:
  /// Where a lane's column is in its segment and among the columns' levels: both are followed without dividing.
  struct Place {
    std::uint32_t in_segment = 0;
    std::uint32_t segment = 0;
    std::uint32_t in_period = 0;
  };

  /// How far the warp has come.
  template <class Warp>
  struct Walk {
    warp::PerLane<Warp, std::uint32_t> state;
    warp::PerLane<Warp, Place> place;
    std::uint32_t next = 0;  ///< where the stream's next word is
  };

  struct Escapes {
    std::uint32_t next = 0;
    std::uint32_t left = 0;
  };

  template <class Warp>
  STILLBIT_WARP static bool all_levels_exist(Warp& warp, const Plan& plan, const warp::ByteRun& row);

  /// Takes the indices of a round's columns. False when the words do not suffice.
  template <class Warp>
  STILLBIT_WARP static bool take_round(Warp& warp, const Plan& plan, const std::byte* memory, const warp::ByteRun& row,
                                       std::uint32_t first, Walk<Warp>& walk,
                                       warp::PerLane<Warp, std::uint32_t>& index);

  /// Stores a round's columns, whose fixed fields begin at byte `fixed_at` of `fields` with column `fields_first`.
  /// False when there are too few escapes.
  template <class Warp>
  STILLBIT_WARP static bool store_round(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                        const warp::ByteRun& fields, std::uint32_t fixed_at, std::uint32_t fields_first,
                                        std::uint32_t first, const warp::PerLane<Warp, std::uint32_t>& index,
                                        Escapes& escapes, const warp::Output& out);
};

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::all_levels_exist(Warp& warp, const Plan& plan, const warp::ByteRun& row) {
  warp::PerLane<Warp, bool> exist;
  warp.each([&](unsigned lane) {
    exist[lane] = true;
    for (std::uint32_t segment = lane; segment < plan.num_segments; segment += warp::kLanes) {
      const std::uint32_t level = row.bits(plan.levels_at * 8 + segment * plan.level_bits, plan.level_bits);
      exist[lane] = exist[lane] && level < plan.num_levels;
    }
  });
  return warp::all(warp, exist);
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::take_round(Warp& warp, const Plan& plan, const std::byte* memory,
                                               const warp::ByteRun& row, std::uint32_t first, Walk<Warp>& walk,
                                               warp::PerLane<Warp, std::uint32_t>& index) {
  const auto* const slots = reinterpret_cast<const Slot*>(memory + plan.slots_at);
  warp::PerLane<Warp, bool> is_low;
  warp.each([&](unsigned lane) {
    is_low[lane] = false;
    if (first + lane >= plan.num_columns) return;
    Place& place = walk.place[lane];
    std::uint32_t table = 0;
    if (plan.num_levels > 1) {
      table = row.bits(plan.levels_at * 8 + place.segment * plan.level_bits, plan.level_bits);
      for (place.in_segment += warp::kLanes; place.in_segment >= plan.segment_columns; ++place.segment)
        place.in_segment -= plan.segment_columns;
    }
    if (plan.period != 0) {
      table += static_cast<std::uint32_t>(memory[plan.column_levels_at + place.in_period]);
      for (place.in_period += warp::kLanes; place.in_period >= plan.period;) place.in_period -= plan.period;
    }
    const std::uint32_t state = walk.state[lane];
    const Slot slot = slots[(table << plan.scale_bits) + (state & warp::low_mask(plan.scale_bits))];
    index[lane] = index_of(slot);
    walk.state[lane] = advance(state, slot, plan.scale_bits);
    is_low[lane] = walk.state[lane] < kLowestState;
  });
  const std::uint32_t low = warp.ballot(is_low);
  const std::uint32_t num_bytes = 2 * warp::popcount(low);
  if (num_bytes > row.num_bytes - walk.next) return false;
  warp.each([&](unsigned lane) {
    if (!is_low[lane]) return;
    const std::uint32_t at = walk.next + 2 * warp::popcount(low & warp::low_mask(lane));
    walk.state[lane] = walk.state[lane] << kWordBits | row.bits(at * 8, kWordBits);
  });
  walk.next += num_bytes;
  return true;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::store_round(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                const warp::ByteRun& fields, std::uint32_t fixed_at,
                                                std::uint32_t fields_first, std::uint32_t first,
                                                const warp::PerLane<Warp, std::uint32_t>& index, Escapes& escapes,
                                                const warp::Output& out) {
  std::uint32_t escaped = 0;
  if (plan.escape_bytes != 0) {
    warp::PerLane<Warp, bool> is_escape;
    warp.each(
        [&](unsigned lane) { is_escape[lane] = first + lane < plan.num_columns && index[lane] == plan.escape_index; });
    escaped = warp.ballot(is_escape);
    if (warp::popcount(escaped) > escapes.left) return false;
  }
  warp.each([&](unsigned lane) {
    const std::uint32_t column = first + lane;
    if (column >= plan.num_columns) return;
    std::uint32_t symbol = symbol_at_index(plan.runs, index[lane]);
    if ((escaped >> lane & 1) != 0) {
      const std::uint32_t at = escapes.next + plan.escape_bytes * warp::popcount(escaped & warp::low_mask(lane));
      symbol = row.bits(at * 8, 8 * plan.escape_bytes);
    }
    const auto fixed =
        warp::load_bits<Number>(fields, fixed_at * 8 + (column - fields_first) * plan.fixed_bits, plan.fixed_bits);
    warp::store_word(out, column,
                     static_cast<Word>((fixed & static_cast<Number>(plan.rest_mask)) << plan.dropped_bits |
                                       static_cast<Number>(symbol & plan.symbol_mask) << plan.symbol_at |
                                       (fixed << plan.sign_shift & static_cast<Number>(plan.sign_mask))));
  });
  escapes.next += plan.escape_bytes * warp::popcount(escaped);
  escapes.left -= warp::popcount(escaped);
  return true;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& stored_plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte* scratch) {
  // A copy: what is in memory would be read again after every store.
  const Plan plan = stored_plan;
  const auto* const memory = reinterpret_cast<const std::byte*>(&stored_plan);
  if (row.num_bytes < plan.minimum_row_bytes) return false;
  Escapes escapes{plan.minimum_row_bytes, 0};
  if (plan.escape_bytes != 0) escapes.left = row.bits(kStateBytes * 8, 16);
  if (escapes.left * plan.escape_bytes > row.num_bytes - escapes.next) return false;
  if (plan.num_levels > 1 && !all_levels_exist(warp, plan, row)) return false;

  Walk<Warp> walk;
  walk.next = escapes.next + escapes.left * plan.escape_bytes;
  warp.each([&](unsigned lane) {
    walk.state[lane] = row.bits(lane * 32, 32);
    walk.place[lane] = {};
    if (plan.num_levels > 1) walk.place[lane] = {lane % plan.segment_columns, lane / plan.segment_columns, 0};
    if (plan.period != 0) walk.place[lane].in_period = lane % plan.period;
  });
  warp::PerLane<Warp, std::uint32_t> index;
  for (std::uint32_t first = 0; first < plan.head_columns; first += warp::kLanes) {
    if (!take_round(warp, plan, memory, row, first, walk, index)) return false;
    if (!store_round(warp, plan, row, row, plan.fixed_at, 0, first, index, escapes, out)) return false;
  }

  // The last fixed fields are what the states end with: the last columns are gone through twice.
  Walk<Warp> ahead = walk;
  for (std::uint32_t first = plan.head_columns; first < plan.num_columns; first += warp::kLanes) {
    if (!take_round(warp, plan, memory, row, first, ahead, index)) return false;
  }
  warp::PerLane<Warp, bool> is_well;
  warp.each([&](unsigned lane) { is_well[lane] = ahead.state[lane] >> kWordBits == 1; });
  if (!warp::all(warp, is_well)) return false;
  const std::uint32_t head_bytes = plan.fixed_bits == 0 ? 0 : plan.head_columns / 8 * plan.fixed_bits;
  const std::uint32_t tail_bytes = plan.stored_bytes - head_bytes;
  warp.sync();  // the lanes are done with the tail of the row before
  warp.each([&](unsigned lane) {
    for (std::uint32_t i = lane; i < tail_bytes; i += warp::kLanes)
      scratch[i] = static_cast<std::byte>(row.byte(plan.fixed_at + head_bytes + i));
    scratch[tail_bytes + 2 * lane] = static_cast<std::byte>(ahead.state[lane]);
    scratch[tail_bytes + 2 * lane + 1] = static_cast<std::byte>(ahead.state[lane] >> 8);
  });
  warp.sync();
  const warp::ByteRun tail{reinterpret_cast<const std::uint32_t*>(scratch), 0, tail_bytes + kSeedBytes};
  for (std::uint32_t first = plan.head_columns; first < plan.num_columns; first += warp::kLanes) {
    if (!take_round(warp, plan, memory, row, first, walk, index)) return false;
    if (!store_round(warp, plan, row, tail, 0, plan.head_columns, first, index, escapes, out)) return false;
  }
  return true;
}

}  // namespace stillbit::rans
