#pragma once

#include "codecs/escape/lane.hpp"
#include "warp/output.hpp"

#include <type_traits>

// How a warp expands a row (spec.md). A lane has eight neighbouring columns. It counts its escapes within a register;
// where the codes of a step's escapes are then follows from one sum over the warp. Those codes are looked up by all
// lanes at once, a lane for each escape, and handed to the columns' lanes through shared memory.

namespace stillbit::escape {

inline constexpr unsigned kMaxWarpTiers = 3;

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint64_t rest_mask = 0;  ///< as in WordShape
  std::uint64_t sign_mask = 0;
  std::uint32_t num_columns = 0;
  std::uint32_t fixed_bytes = 0;
  std::uint32_t fixed_bits = 0;
  std::uint32_t dropped_bits = 0;
  std::uint32_t symbol_at = 0;
  std::uint32_t sign_shift = 0;
  std::uint32_t symbol_mask = 0;
  std::uint32_t symbol_size = 0;
  std::uint32_t num_tiers = 0;
  std::uint32_t row_shift_bytes = 0;   ///< 0, or symbol_size
  std::uint32_t column_shifts_at = 0;  ///< 0, or where the shifts of all columns and kLaneColumns more are
  std::uint32_t tier_bits[kMaxWarpTiers] = {};
  std::uint32_t low_bytes[4] = {};                ///< of the symbols of the first tier's 16 codes: a byte each
  std::uint16_t symbols[kMaxWarpTiers][16] = {};  ///< of each tier's codes; that of code 0, the escape, is 0
};

/// Where a plane of codes is, and how many there are.
struct CodePlane {
  std::uint32_t at = 0;
  std::uint32_t num_codes = 0;
  std::uint32_t width = 0;

  [[nodiscard]] STILLBIT_WARP std::uint32_t num_bytes() const { return (num_codes * width + 7) / 8; }
  /// Codes in whole blocks; the others lie one after the other.
  [[nodiscard]] STILLBIT_WARP std::uint32_t num_blocked() const { return num_codes / kBlockCodes * kBlockCodes; }

  /// Codes `first` to `first` + 7, a byte each; `first` is a multiple of 8.
  [[nodiscard]] STILLBIT_WARP std::uint64_t eight_codes(const warp::ByteRun& row, std::uint32_t first) const;

  [[nodiscard]] STILLBIT_WARP std::uint32_t code(const warp::ByteRun& row, std::uint32_t i) const;

  /// Which of codes `first` to `first` + 7 are there: a bit each.
  [[nodiscard]] STILLBIT_WARP std::uint32_t which_exist(std::uint32_t first) const {
    return first >= num_codes ? 0 : warp::low_mask(num_codes - first) & 0xFFU;
  }
};

STILLBIT_WARP std::uint64_t CodePlane::eight_codes(const warp::ByteRun& row, std::uint32_t first) const {
  std::uint64_t codes = 0;
  if (first < num_blocked()) {
    const std::uint32_t part = first % kBlockCodes / 8;
    const std::uint32_t block = at + first / kBlockCodes * 8 * width;
    const auto pairs = [&](std::uint32_t plane) {
      return row.bits_64((plane + part % 2 * 8) * 8, 64) >> (part / 2 * 2) & 0x0303030303030303U;
    };
    // No loop: codes have at most four bits.
    if (width >= 2) codes = pairs(block);
    if (width >= 4) codes |= pairs(block + 16) << 2;
    if (width % 2 != 0) {
      // Bit i of the byte goes to byte i, and there to bit 0.
      const std::uint64_t ones = row.byte(block + width / 2 * 16 + part) * 0x0101010101010101U & 0x8040201008040201U;
      codes |= ((ones + 0x7F7F7F7F7F7F7F7FU) >> 7 & 0x0101010101010101U) << (width - 1);
    }
    return codes;
  }
  const std::uint32_t fields =
      row.bits((at + num_blocked() / 8 * width) * 8 + (first - num_blocked()) * width, 8 * width);
  for (unsigned i = 0; i < 8; ++i)
    codes |= static_cast<std::uint64_t>(fields >> (i * width) & warp::low_mask(width)) << (8 * i);
  return codes;
}

STILLBIT_WARP std::uint32_t CodePlane::code(const warp::ByteRun& row, std::uint32_t i) const {
  if (i >= num_blocked()) return row.bits((at + num_blocked() / 8 * width) * 8 + (i - num_blocked()) * width, width);
  const std::uint32_t block = at + i / kBlockCodes * 8 * width;
  const std::uint32_t within = i % kBlockCodes;
  const auto pair = [&](std::uint32_t plane) { return row.byte(plane + within % 16) >> (within / 16 * 2) & 3U; };
  std::uint32_t code = width >= 2 ? pair(block) : 0;
  if (width >= 4) code |= pair(block + 16) << 2;
  if (width % 2 != 0) code |= (row.byte(block + width / 2 * 16 + within / 8) >> (within % 8) & 1U) << (width - 1);
  return code;
}

/// The number of codes in a plane that are escapes.
template <class Warp>
STILLBIT_WARP std::uint32_t count_escapes(Warp& warp, const warp::ByteRun& row, const CodePlane& plane) {
  warp::PerLane<Warp, std::uint32_t> count;
  warp.each([&](unsigned lane) {
    count[lane] = 0;
    for (std::uint32_t first = lane * 8; first < plane.num_codes; first += warp::kLanes * 8)
      count[lane] += warp::popcount(escapes_of(plane.eight_codes(row, first)) & plane.which_exist(first));
  });
  return warp::sum(warp, count);
}

/// The planes of a row, and where the symbols that are written out start.
struct RowPlanes {
  CodePlane tiers[kMaxWarpTiers];
  std::uint32_t symbols_at = 0;
};

/// Finds the planes of a row. False if they, or the symbols that they announce, do not lie within it.
template <class Warp>
STILLBIT_WARP bool find_planes(Warp& warp, const WarpPlan& plan, const warp::ByteRun& row, RowPlanes& planes) {
  std::uint32_t num_codes = plan.num_columns;
  std::uint32_t at = plan.fixed_bytes;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kMaxWarpTiers; ++i) {
    if (i >= plan.num_tiers) break;
    planes.tiers[i] = {at, num_codes, plan.tier_bits[i]};
    at += planes.tiers[i].num_bytes();
    if (at > row.num_bytes) return false;
    num_codes = count_escapes(warp, row, planes.tiers[i]);
    if (i == 0) at += plan.row_shift_bytes;
  }
  planes.symbols_at = at;
  return at <= row.num_bytes && num_codes <= (row.num_bytes - at) / plan.symbol_size;
}

/// Bytes `selected` of a table of 16: the one that each of eight codes stands for.
STILLBIT_WARP std::uint64_t look_up(const std::uint32_t (&table)[4], std::uint64_t codes, bool has_four_bits) {
  std::uint32_t halves[2];
  STILLBIT_UNROLL
  for (unsigned i = 0; i < 2; ++i) {
    const auto four = static_cast<std::uint32_t>(codes >> (32 * i));
    std::uint32_t selector = four | four >> 4;
    selector = (selector & 0xFFU) | (selector >> 8 & 0xFF00U);
    halves[i] = warp::byte_permute(table[0], table[1], selector);
    if (has_four_bits) {
      const std::uint32_t above = warp::byte_permute(table[2], table[3], selector);
      const std::uint32_t is_above = (four >> 3 & 0x01010101U) * 0xFFU;
      halves[i] ^= (halves[i] ^ above) & is_above;
    }
  }
  return std::uint64_t{halves[1]} << 32 | halves[0];
}

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  using Number = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte* scratch);

 private:
  /// How many of the row's symbols in each of the later tiers, and of those that are written out, are behind the warp.
  struct Ranks {
    std::uint32_t in_tier[kMaxWarpTiers - 1] = {};
    std::uint32_t written_out = 0;
  };

  using SymbolTable = decltype(Plan::symbols);

  /// The symbols of a step's escapes, `count` of them, in order, into `symbols`. Moves the ranks on.
  template <class Warp>
  STILLBIT_WARP static void escaped_symbols(Warp& warp, const Plan& plan, const SymbolTable& table,
                                            const warp::ByteRun& row, const RowPlanes& planes, Ranks& ranks,
                                            std::uint32_t count, std::uint16_t* symbols);

  /// What is added to the symbols of eight columns.
  STILLBIT_WARP static void add_column_shifts(const Plan& plan, const std::byte* column_shifts, std::uint32_t column,
                                              std::uint32_t row_shift, std::uint32_t (&shifts)[warp::kLaneColumns]) {
    const auto add = [&]<class Shift>(Shift) {
      struct alignas(8) Eight {
        Shift of[warp::kLaneColumns];
      };
      const Eight eight = reinterpret_cast<const Eight*>(column_shifts)[column / warp::kLaneColumns];
      STILLBIT_UNROLL
      for (unsigned i = 0; i < warp::kLaneColumns; ++i) shifts[i] = row_shift + eight.of[i];
    };
    if (plan.column_shifts_at == 0) {
      STILLBIT_UNROLL
      for (unsigned i = 0; i < warp::kLaneColumns; ++i) shifts[i] = row_shift;
    } else if (plan.symbol_size == 1) {
      add(std::uint8_t{});
    } else {
      add(std::uint16_t{});
    }
  }

  STILLBIT_WARP static Word join(const Plan& plan, Number fixed, Number symbol) {
    return static_cast<Word>((fixed & static_cast<Number>(plan.rest_mask)) << plan.dropped_bits |
                             symbol << plan.symbol_at |
                             (fixed << plan.sign_shift & static_cast<Number>(plan.sign_mask)));
  }
};

template <class Word>
template <class Warp>
STILLBIT_WARP void WarpCodec<Word>::escaped_symbols(Warp& warp, const Plan& plan, const SymbolTable& table,
                                                    const warp::ByteRun& row, const RowPlanes& planes, Ranks& ranks,
                                                    std::uint32_t count, std::uint16_t* symbols) {
  for (std::uint32_t first = 0; first < count; first += warp::kLanes) {
    warp::PerLane<Warp, std::uint32_t> symbol;
    warp::PerLane<Warp, bool> is_escape;
    warp.each([&](unsigned lane) {
      is_escape[lane] = first + lane < count;
      symbol[lane] = 0;
    });
    STILLBIT_UNROLL
    for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
      if (i >= plan.num_tiers) break;
      const std::uint32_t escapes = warp.ballot(is_escape);
      warp.each([&](unsigned lane) {
        // Lanes without an escape look, too, at most one code behind the plane: cheaper than to go another way.
        const std::uint32_t rank = ranks.in_tier[i - 1] + warp::popcount(escapes & warp::low_mask(lane));
        const std::uint32_t code = planes.tiers[i].code(row, rank);
        if (is_escape[lane]) symbol[lane] = table[i][code];
        is_escape[lane] = is_escape[lane] && code == 0;
      });
      ranks.in_tier[i - 1] += warp::popcount(escapes);
    }
    const std::uint32_t escapes = warp.ballot(is_escape);
    warp.each([&](unsigned lane) {
      if (first + lane >= count) return;
      if (is_escape[lane]) {
        const std::uint32_t at = ranks.written_out + warp::popcount(escapes & warp::low_mask(lane));
        symbol[lane] = row.bits((planes.symbols_at + at * plan.symbol_size) * 8, 8 * plan.symbol_size);
      }
      symbols[first + lane] = static_cast<std::uint16_t>(symbol[lane]);
    });
    ranks.written_out += warp::popcount(escapes);
  }
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& stored_plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte* scratch) {
  using warp::kLaneColumns;
  static_assert(kLaneColumns == 8, "a lane's codes are looked up eight at a time");
  // A copy: what is in memory would be read again after every store. Only its symbols stay there, as a table.
  const Plan plan = stored_plan;
  RowPlanes planes;
  if (!find_planes(warp, plan, row, planes)) return false;
  const CodePlane& codes_plane = planes.tiers[0];
  const std::uint32_t row_shift =
      plan.row_shift_bytes == 0 ? 0
                                : row.bits((codes_plane.at + codes_plane.num_bytes()) * 8, 8 * plan.row_shift_bytes);
  const std::byte* const column_shifts = reinterpret_cast<const std::byte*>(&stored_plan) + plan.column_shifts_at;
  auto* const symbols = reinterpret_cast<std::uint16_t*>(scratch);
  static_assert(warp::kStepColumns * sizeof(std::uint16_t) <= 1024, "the symbols of a step fit into scratch memory");
  Ranks ranks;

  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, std::uint64_t> codes;
    warp::PerLane<Warp, std::uint32_t> escaped;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      codes[lane] = column < plan.num_columns ? codes_plane.eight_codes(row, column) : 0;
      escaped[lane] = escapes_of(codes[lane]) & codes_plane.which_exist(column);
      rank[lane] = warp::popcount(escaped[lane]);
    });
    const std::uint32_t num_escaped = warp::exclusive_sum(warp, rank);
    if (num_escaped != 0) {
      warp.sync();  // the lanes are done with the symbols of the last step
      escaped_symbols(warp, plan, stored_plan.symbols, row, planes, ranks, num_escaped, symbols);
      warp.sync();
    }
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      if (column >= plan.num_columns) return;
      const std::uint64_t low_bytes = look_up(plan.low_bytes, codes[lane], plan.tier_bits[0] == 4);
      std::uint32_t shifts[kLaneColumns];
      add_column_shifts(plan, column_shifts, column, row_shift, shifts);
      Number fixed[kLaneColumns];
      warp::load_fields<Word>(row, column * plan.fixed_bits, plan.fixed_bits, fixed);
      Word words[kLaneColumns];
      std::uint32_t at = rank[lane];
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        Number symbol = 0;
        if constexpr (sizeof(Word) == 8) {
          symbol = stored_plan.symbols[0][codes[lane] >> (8 * i) & 0xFU];
        } else {
          symbol = static_cast<Number>(low_bytes >> (8 * i) & 0xFFU);
        }
        if ((escaped[lane] >> i & 1) != 0) symbol = symbols[at++];
        words[i] = join(plan, fixed[i], (symbol + shifts[i]) & plan.symbol_mask);
      }
      warp::store_words(out, column, words);
    });
  }
  return true;
}

}  // namespace stillbit::escape
