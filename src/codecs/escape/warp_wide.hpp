#pragma once

#include "codecs/escape/warp_planes.hpp"

// How a warp expands a row of words of eight bytes, whose symbols have up to 12 bits. A lane has eight neighbouring
// columns. The codes of a step's escapes are looked up by all lanes at once, a lane for each escape, and handed to the
// columns' lanes through shared memory.

namespace stillbit::escape {

template <class Warp>
class WideRow {
 public:
  STILLBIT_WARP WideRow(Warp& warp, const WarpPlan& plan, const warp::ByteRun& row, std::byte* scratch)
      : warp_(warp),
        stored_plan_(plan),
        plan_(plan),
        row_(row),
        escaped_symbols_(reinterpret_cast<std::uint16_t*>(scratch)) {}

  /// False if the row is malformed.
  STILLBIT_WARP bool expand(const warp::Output& out);

 private:
  static constexpr std::uint32_t kSymbolBytes = 2;

  /// How many of the row's symbols in each of the later tiers, and of those that are written out, are behind the warp.
  struct Ranks {
    std::uint32_t in_tier[kMaxWarpTiers - 1] = {};
    std::uint32_t written_out = 0;
  };

  /// Code `i` of a later tier.
  [[nodiscard]] STILLBIT_WARP std::uint32_t code(const CodePlane& plane, std::uint32_t i) const;

  /// The symbols of a step's escapes, `count` of them, in order. Moves the ranks on. False if they do not lie within
  /// the row.
  STILLBIT_WARP bool look_up_escapes(std::uint32_t count);

  STILLBIT_WARP void store_columns(const warp::Output& out, std::uint32_t column, CodeNibbles codes,
                                   CodeNibbles escapes, std::uint32_t rank, std::uint32_t row_shift) const;

  Warp& warp_;
  const WarpPlan& stored_plan_;
  // A copy: what is in memory would be read again after every store. Only its symbols stay there, as tables.
  const WarpPlan plan_;
  const warp::ByteRun& row_;
  std::uint16_t* escaped_symbols_;  ///< of a step
  RowPlanes planes_;
  std::uint32_t max_symbols_ = 0;  ///< written out, as many as lie within the row
  Ranks ranks_;
};

template <class Warp>
STILLBIT_WARP std::uint32_t WideRow<Warp>::code(const CodePlane& plane, std::uint32_t i) const {
  // Lanes without an escape look, too, and so do those of a row that has more than it says: at most behind the plane.
  const std::uint32_t code = i < plane.num_codes ? i : plane.num_codes;
  return row_.bits(plane.at * 8 + code * plane.width, plane.width);
}

template <class Warp>
STILLBIT_WARP bool WideRow<Warp>::look_up_escapes(std::uint32_t count) {
  for (std::uint32_t first = 0; first < count; first += warp::kLanes) {
    warp::PerLane<Warp, std::uint32_t> symbol;
    warp::PerLane<Warp, bool> is_escape;
    warp_.each([&](unsigned lane) {
      is_escape[lane] = first + lane < count;
      symbol[lane] = 0;
    });
    STILLBIT_UNROLL
    for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
      if (i >= plan_.tiers.count) break;
      const std::uint32_t escapes = warp_.ballot(is_escape);
      warp_.each([&](unsigned lane) {
        const std::uint32_t rank = ranks_.in_tier[i - 1] + warp::popcount(escapes & warp::low_mask(lane));
        const std::uint32_t found = code(planes_.tiers[i], rank);
        if (is_escape[lane]) symbol[lane] = stored_plan_.symbols[i][found];
        is_escape[lane] = is_escape[lane] && found == 0;
      });
      ranks_.in_tier[i - 1] += warp::popcount(escapes);
    }
    const std::uint32_t escapes = warp_.ballot(is_escape);
    if (warp::popcount(escapes) > max_symbols_ - ranks_.written_out) return false;
    warp_.each([&](unsigned lane) {
      if (first + lane >= count) return;
      if (is_escape[lane]) {
        const std::uint32_t at = ranks_.written_out + warp::popcount(escapes & warp::low_mask(lane));
        symbol[lane] = row_.bits((planes_.symbols_at + at * kSymbolBytes) * 8, 8 * kSymbolBytes);
      }
      escaped_symbols_[first + lane] = static_cast<std::uint16_t>(symbol[lane]);
    });
    ranks_.written_out += warp::popcount(escapes);
  }
  return true;
}

template <class Warp>
STILLBIT_WARP void WideRow<Warp>::store_columns(const warp::Output& out, std::uint32_t column, CodeNibbles codes,
                                                CodeNibbles escapes, std::uint32_t rank,
                                                std::uint32_t row_shift) const {
  using warp::kLaneColumns;
  const auto* const column_shifts = reinterpret_cast<const std::uint16_t*>(
      reinterpret_cast<const std::byte*>(&stored_plan_) + plan_.column_shifts_at);
  std::uint64_t fixed[kLaneColumns];
  warp::load_fields<std::uint64_t>(row_, column * plan_.fixed_bits, plan_.fixed_bits, fixed);
  std::uint64_t words[kLaneColumns];
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kLaneColumns; ++i) {
    const bool is_escape = (escapes >> nibble_at(i) & 1) != 0;
    std::uint64_t symbol = is_escape ? escaped_symbols_[rank] : stored_plan_.symbols[0][codes >> nibble_at(i) & 0xFU];
    rank += is_escape ? 1 : 0;
    symbol += row_shift;
    if (plan_.column_shifts_at != 0) symbol += column_shifts[column + i];
    words[i] = (fixed[i] & plan_.rest_mask) << plan_.dropped_bits | (symbol & plan_.symbol_mask) << plan_.symbol_at |
               (fixed[i] << plan_.sign_shift & plan_.sign_mask);
  }
  warp::store_words(out, column, words);
}

template <class Warp>
STILLBIT_WARP bool WideRow<Warp>::expand(const warp::Output& out) {
  if (!find_planes(plan_, plan_.tiers, row_, planes_)) return false;
  max_symbols_ = (row_.num_bytes - planes_.symbols_at) / kSymbolBytes;
  const CodePlane& codes_plane = planes_.tiers[0];
  const std::uint32_t row_shift = row_shift_of(plan_, row_);
  static_assert(warp::kStepColumns * sizeof(std::uint16_t) <= warp::kScratchBytes);

  for (std::uint32_t step = 0; step < plan_.num_columns; step += warp::kStepColumns) {
    warp::PerLane<Warp, CodeNibbles> codes;
    warp::PerLane<Warp, CodeNibbles> escapes;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp_.each([&](unsigned lane) {
      codes[lane] = lane_codes(row_, codes_plane, step, lane);
      escapes[lane] = escapes_in(codes[lane], codes_plane.width);
      rank[lane] = warp::popcount(escapes[lane]);
    });
    const std::uint32_t num_escapes = warp::exclusive_sum(warp_, rank);
    if (num_escapes != 0) {
      warp_.sync();  // the lanes are done with the symbols of the last step
      if (!look_up_escapes(num_escapes)) return false;
      warp_.sync();
    }
    warp_.each([&](unsigned lane) {
      const std::uint32_t column = step + lane * warp::kLaneColumns;
      if (column < plan_.num_columns) store_columns(out, column, codes[lane], escapes[lane], rank[lane], row_shift);
    });
  }
  bool are_as_many = true;
  STILLBIT_UNROLL
  for (unsigned i = 1; i < kMaxWarpTiers; ++i)
    are_as_many = are_as_many && (i >= plan_.tiers.count || ranks_.in_tier[i - 1] == planes_.tiers[i].num_codes);
  return are_as_many;
}

}  // namespace stillbit::escape
