#pragma once

#include "codecs/escape/warp.hpp"
#include "warp/bit_writer.hpp"
#include "warp/lane_words.hpp"

// How a warp encodes a row (spec.md). Where the later tiers' planes start depends on how many escapes the row has, so
// it is gone over twice: once to count, which also tells whether it becomes smaller, and once to write.

namespace stillbit::escape {

/// A plan as warps encode with it: one piece of memory, at an address that is a multiple of 16.
struct EncodePlan {
  std::uint64_t rest_mask = 0;  ///< as in WordShape
  std::uint64_t sign_mask = 0;
  std::uint64_t forbidden = 0;
  std::uint32_t num_columns = 0;
  std::uint32_t fixed_bytes = 0;
  std::uint32_t fixed_bits = 0;
  std::uint32_t dropped_bits = 0;
  std::uint32_t symbol_at = 0;
  std::uint32_t sign_shift = 0;
  std::uint32_t symbol_mask = 0;
  std::uint32_t symbol_size = 0;
  std::uint32_t num_tiers = 0;
  std::uint32_t row_shift_bytes = 0;  ///< 0, or symbol_size
  std::uint32_t counts_at = 0;        ///< where a row's counts are
  std::uint32_t count_bits = 0;       ///< of each
  std::uint32_t escapes_at = 0;       ///< behind the counts
  std::uint32_t common_symbol = 0;    ///< of the first tier's code 1: rows are shifted to it
  std::uint32_t tier_bits[kMaxWarpTiers] = {};
  std::uint32_t codes_at = 0;          ///< where the codes of all symbols are: a std::uint16_t each
  std::uint32_t column_shifts_at = 0;  ///< 0, or where the shifts of all columns and kLaneColumns more are
};

/// The codes of a symbol: four bits for each tier, 0 where the tier lacks it, and above them the number of the first
/// tier that has it, or kNoTier.
inline constexpr unsigned kCodeBits = 4;
inline constexpr unsigned kTierAt = kMaxWarpTiers * kCodeBits;
inline constexpr unsigned kNoTier = kMaxWarpTiers;

/// How many symbols come to each tier but the first, and behind the last one to none.
struct EscapeCounts {
  std::uint32_t beyond[kMaxWarpTiers] = {};
};

/// Where the parts of a row are that come behind its codes.
struct EncodedPlanes {
  CodePlane tiers[kMaxWarpTiers];
  std::uint32_t symbols_at = 0;
  std::uint32_t num_bytes = 0;
};

STILLBIT_WARP EncodedPlanes planes_for(const EncodePlan& plan, const EscapeCounts& counts) {
  EncodedPlanes planes;
  planes.tiers[0] = {plan.fixed_bytes, plan.num_columns, plan.tier_bits[0], true};
  std::uint32_t at = plan.escapes_at;
  std::uint32_t num_codes = counts.beyond[0];
  STILLBIT_UNROLL
  for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
    if (i >= plan.num_tiers) break;
    planes.tiers[i] = {at, num_codes, plan.tier_bits[i], false};
    at += planes.tiers[i].num_bytes();
    num_codes = counts.beyond[i];
  }
  planes.symbols_at = at;
  planes.num_bytes = at + num_codes * plan.symbol_size;
  return planes;
}

/// Puts codes `first` to `first` + 7 into their plane, a byte each; those that do not exist are 0. Inside each.
template <class Warp>
STILLBIT_WARP void put_eight_codes(Warp& warp, std::uint32_t* dst, const CodePlane& plane, std::uint32_t first,
                                   std::uint64_t codes) {
  const std::uint32_t width = plane.width;
  const std::uint32_t num_blocked = plane.num_blocked();
  if (first < num_blocked) {
    const std::uint32_t part = first % kBlockCodes / 8;
    std::uint32_t block = plane.at + first / kBlockCodes * 8 * width;
    unsigned bit = 0;
    for (; bit + 2 <= width; bit += 2, block += 16)
      warp::or_bits(warp, dst, (block + part % 2 * 8) * 8, (codes >> bit & 0x0303030303030303U) << (part / 2 * 2));
    if (width % 2 != 0) {
      const std::uint64_t ones = codes >> (width - 1) & 0x0101010101010101U;
      warp::or_bits(warp, dst, (block + part) * 8, ones * 0x0102040810204080U >> 56);
    }
    return;
  }
  std::uint64_t fields = 0;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < 8; ++i) fields |= (codes >> (8 * i) & 0xFFU) << (i * width);
  warp::or_bits(warp, dst, (plane.at + num_blocked / 8 * width) * 8 + (first - num_blocked) * width, fields);
}

/// Puts code `i` of a later tier into its plane. Inside each.
template <class Warp>
STILLBIT_WARP void put_code(Warp& warp, std::uint32_t* dst, const CodePlane& plane, std::uint32_t i,
                            std::uint32_t code) {
  warp::or_bits(warp, dst, plane.at * 8 + i * plane.width, code);
}

template <class Word_>
struct WarpEncoder {
  using Word = Word_;
  using Plan = EncodePlan;
  using Number = warp::NumberOf<Word>;
  using Symbol = std::conditional_t<sizeof(Word) == 8, std::uint16_t, std::uint8_t>;

  /// Into `dst`, which is row.num_bytes zeros. Returns the stored size, or kStoredRaw.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t encode(Warp& warp, const Plan& plan, const warp::ByteRun& row, std::uint32_t* dst,
                                            std::byte* scratch);

 private:
  /// The symbols of a lane's columns, less the columns' shifts.
  struct Symbols {
    std::uint32_t values[warp::kLaneColumns];
  };

  STILLBIT_WARP static const std::uint16_t* codes_of_symbols(const Plan& plan) {
    return reinterpret_cast<const std::uint16_t*>(reinterpret_cast<const std::byte*>(&plan) + plan.codes_at);
  }

  STILLBIT_WARP static Symbols symbols_of(const Plan& plan, const warp::LaneWords<Word>& words, std::uint32_t column,
                                          std::uint32_t row_shift) {
    const auto* const shifts =
        reinterpret_cast<const Symbol*>(reinterpret_cast<const std::byte*>(&plan) + plan.column_shifts_at);
    Symbols symbols;
    STILLBIT_UNROLL
    for (unsigned i = 0; i < warp::kLaneColumns; ++i) {
      auto symbol = static_cast<std::uint32_t>(words[i] >> plan.symbol_at) - row_shift;
      if (plan.column_shifts_at != 0) symbol -= shifts[column + i];
      symbols.values[i] = symbol & plan.symbol_mask;
    }
    return symbols;
  }

  /// Calls body(lane, its words, its first column, how many columns it has) for all columns of a row. Inside each.
  template <class Warp, class Body>
  STILLBIT_WARP static void for_all_columns(Warp& warp, const Plan& plan, const warp::ByteRun& row, const Body& body) {
    warp.each([&](unsigned lane) {
      for (std::uint32_t column = lane * warp::kLaneColumns; column < plan.num_columns; column += warp::kStepColumns)
        body(lane, warp::lane_words<Word>(row, column), column, plan.num_columns - column);
    });
  }

  /// Whether a bit is set in the row that must be zero.
  template <class Warp>
  STILLBIT_WARP static bool breaks_rules(Warp& warp, const Plan& plan, const warp::ByteRun& row);

  /// As the CPU's encoder does it: kernels.inl has the reasons.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t mean_near(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                               std::uint32_t center, std::uint32_t reach);

  template <class Warp>
  STILLBIT_WARP static EscapeCounts count_escapes(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                  std::uint32_t row_shift);

  /// The row's shift, and the escapes that it then has.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t choose_shift(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                  EscapeCounts& counts);

  /// Puts a step's escapes into the later tiers, or writes them out. `ranks` are the numbers of escapes before them in
  /// the tiers behind the first, and `num_written_out` that of those behind the last; they are moved on.
  template <class Warp>
  STILLBIT_WARP static void put_escapes(Warp& warp, const Plan& plan, const EncodedPlanes& planes,
                                        const std::uint16_t* symbols, std::uint32_t count,
                                        std::uint32_t (&ranks)[kMaxWarpTiers], std::uint32_t& num_written_out,
                                        std::uint32_t* dst);
};

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpEncoder<Word>::breaks_rules(Warp& warp, const Plan& plan, const warp::ByteRun& row) {
  if (plan.forbidden == 0) return false;
  warp::PerLane<Warp, bool> breaks;
  warp.each([&](unsigned lane) { breaks[lane] = false; });
  for_all_columns(warp, plan, row,
                  [&](unsigned lane, const warp::LaneWords<Word>& words, std::uint32_t, std::uint32_t num_columns) {
                    Number any = 0;
                    STILLBIT_UNROLL
                    for (unsigned i = 0; i < warp::kLaneColumns; ++i) any |= i < num_columns ? words[i] : 0;
                    breaks[lane] = breaks[lane] || (any & static_cast<Number>(plan.forbidden)) != 0;
                  });
  return warp.ballot(breaks) != 0;
}

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::mean_near(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                         std::uint32_t center, std::uint32_t reach) {
  warp::PerLane<Warp, std::uint32_t> sum;
  warp::PerLane<Warp, std::uint32_t> count;
  warp.each([&](unsigned lane) {
    sum[lane] = 0;
    count[lane] = 0;
  });
  for_all_columns(
      warp, plan, row,
      [&](unsigned lane, const warp::LaneWords<Word>& words, std::uint32_t column, std::uint32_t num_columns) {
        const Symbols symbols = symbols_of(plan, words, column, 0);
        STILLBIT_UNROLL
        for (unsigned i = 0; i < warp::kLaneColumns; ++i) {
          const std::uint32_t symbol = symbols.values[i];
          const bool is_near = symbol + reach >= center && symbol <= center + reach && i < num_columns;
          sum[lane] += is_near ? symbol : 0;
          count[lane] += is_near ? 1 : 0;
        }
      });
  const std::uint32_t num_near = warp.sum(count);
  return num_near == 0 ? center : (warp.sum(sum) + num_near / 2) / num_near;
}

template <class Word>
template <class Warp>
STILLBIT_WARP EscapeCounts WarpEncoder<Word>::count_escapes(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                            std::uint32_t row_shift) {
  const std::uint16_t* const codes = codes_of_symbols(plan);
  warp::PerLane<Warp, EscapeCounts> beyond;
  warp.each([&](unsigned lane) { beyond[lane] = EscapeCounts{}; });
  for_all_columns(
      warp, plan, row,
      [&](unsigned lane, const warp::LaneWords<Word>& words, std::uint32_t column, std::uint32_t num_columns) {
        const Symbols symbols = symbols_of(plan, words, column, row_shift);
        STILLBIT_UNROLL
        for (unsigned i = 0; i < warp::kLaneColumns; ++i) {
          const std::uint32_t tier = i < num_columns ? codes[symbols.values[i]] >> kTierAt : 0;
          STILLBIT_UNROLL
          for (unsigned t = 0; t < kMaxWarpTiers; ++t) beyond[lane].beyond[t] += tier > t ? 1 : 0;
        }
      });
  EscapeCounts counts;
  STILLBIT_UNROLL
  for (unsigned t = 0; t < kMaxWarpTiers; ++t) {
    if (t >= plan.num_tiers) break;
    warp::PerLane<Warp, std::uint32_t> here;
    warp.each([&](unsigned lane) { here[lane] = beyond[lane].beyond[t]; });
    counts.beyond[t] = warp.sum(here);
  }
  return counts;
}

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::choose_shift(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                            EscapeCounts& counts) {
  const bool has_shift = plan.row_shift_bytes != 0;
  // All symbols are near the first mean, those far from it are left out of the second. These are loops and not
  // repeated code, which would be long.
  std::uint32_t middle = 0;
  for (std::uint32_t i = 0; i < (has_shift ? 2U : 0U); ++i)
    middle = mean_near(warp, plan, row, middle, i == 0 ? plan.symbol_mask : 8);
  std::uint32_t best = 0;
  std::uint32_t best_bytes = ~std::uint32_t{0};
  for (std::uint32_t i = 0; i < (has_shift ? 3U : 1U); ++i) {
    const std::uint32_t beside = i == 2 ? 1 : 0 - i;
    const std::uint32_t shift = has_shift ? (middle - plan.common_symbol + beside) & plan.symbol_mask : 0;
    const EscapeCounts priced = count_escapes(warp, plan, row, shift);
    const std::uint32_t num_bytes = planes_for(plan, priced).num_bytes;
    if (num_bytes >= best_bytes) continue;
    best = shift;
    best_bytes = num_bytes;
    counts = priced;
  }
  return best;
}

template <class Word>
template <class Warp>
STILLBIT_WARP void WarpEncoder<Word>::put_escapes(Warp& warp, const Plan& plan, const EncodedPlanes& planes,
                                                  const std::uint16_t* symbols, std::uint32_t count,
                                                  std::uint32_t (&ranks)[kMaxWarpTiers], std::uint32_t& num_written_out,
                                                  std::uint32_t* dst) {
  for (std::uint32_t first = 0; first < count; first += warp::kLanes) {
    warp::PerLane<Warp, std::uint32_t> symbol;
    warp::PerLane<Warp, bool> is_escape;
    warp.each([&](unsigned lane) {
      is_escape[lane] = first + lane < count;
      symbol[lane] = is_escape[lane] ? symbols[first + lane] : 0;
    });
    STILLBIT_UNROLL
    for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
      if (i >= plan.num_tiers) break;
      const std::uint32_t escapes = warp.ballot(is_escape);
      warp.each([&](unsigned lane) {
        if (!is_escape[lane]) return;
        const std::uint32_t rank = ranks[i] + warp::popcount(escapes & warp::low_mask(lane));
        const std::uint32_t code = codes_of_symbols(plan)[symbol[lane]] >> (i * kCodeBits) & 0xFU;
        is_escape[lane] = code == 0;
        put_code(warp, dst, planes.tiers[i], rank, code);
      });
      ranks[i] += warp::popcount(escapes);
    }
    const std::uint32_t escapes = warp.ballot(is_escape);
    warp.each([&](unsigned lane) {
      if (!is_escape[lane]) return;
      const std::uint32_t at = num_written_out + warp::popcount(escapes & warp::low_mask(lane));
      warp::or_bits(warp, dst, (planes.symbols_at + at * plan.symbol_size) * 8, symbol[lane]);
    });
    num_written_out += warp::popcount(escapes);
  }
}

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::encode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                      std::uint32_t* dst, std::byte* scratch) {
  using warp::kLaneColumns;
  if (breaks_rules(warp, plan, row)) return warp::kStoredRaw;
  EscapeCounts counts;
  const std::uint32_t row_shift = choose_shift(warp, plan, row, counts);
  const EncodedPlanes planes = planes_for(plan, counts);
  if (planes.num_bytes >= row.num_bytes) return warp::kStoredRaw;
  const CodePlane& codes_plane = planes.tiers[0];
  warp.each([&](unsigned lane) {
    if (lane != 0) return;
    if (plan.row_shift_bytes != 0) warp::or_bits(warp, dst, (plan.counts_at - plan.row_shift_bytes) * 8, row_shift);
    STILLBIT_UNROLL
    for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
      if (i < plan.num_tiers)
        warp::or_bits(warp, dst, plan.counts_at * 8 + (i - 1) * plan.count_bits, planes.tiers[i].num_codes);
    }
  });

  // Copies of what the plan says: as far as a compiler knows, what is written may change it.
  const unsigned fixed_bits = plan.fixed_bits;
  const unsigned dropped_bits = plan.dropped_bits;
  const unsigned sign_shift = plan.sign_shift;
  const auto rest_mask = static_cast<Number>(plan.rest_mask);
  const auto sign_mask = static_cast<Number>(plan.sign_mask);
  const std::uint16_t* const codes_of_symbol = codes_of_symbols(plan);
  auto* const escaped_symbols = reinterpret_cast<std::uint16_t*>(scratch);
  std::uint32_t ranks[kMaxWarpTiers] = {};
  std::uint32_t num_written_out = 0;
  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, Symbols> symbols;
    warp::PerLane<Warp, std::uint32_t> escaped;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      escaped[lane] = 0;
      rank[lane] = 0;
      if (column >= plan.num_columns) return;
      const std::uint32_t num_columns = plan.num_columns - column;
      const warp::LaneWords<Word> words = warp::lane_words<Word>(row, column);
      symbols[lane] = symbols_of(plan, words, column, row_shift);
      warp::LaneBits<Warp> fixed(warp, dst, column * fixed_bits);
      std::uint64_t codes = 0;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        // Columns that do not exist write zeros, which change nothing.
        const bool exists = i < num_columns;
        const Number word = exists ? words[i] : 0;
        fixed.put((word >> dropped_bits & rest_mask) | (word & sign_mask) >> sign_shift, fixed_bits);
        const std::uint32_t code = codes_of_symbol[symbols[lane].values[i]] & 0xFU;
        codes |= std::uint64_t{exists ? code : 0} << (8 * i);
        escaped[lane] |= static_cast<std::uint32_t>(code == 0) << i;
      }
      fixed.finish();
      escaped[lane] &= warp::low_mask(num_columns);
      put_eight_codes(warp, dst, codes_plane, column, codes);
      rank[lane] = warp::popcount(escaped[lane]);
    });
    const std::uint32_t num_escaped = warp::exclusive_sum(warp, rank);
    if (num_escaped == 0) continue;
    warp.sync();  // the lanes are done with the symbols of the last step
    warp.each([&](unsigned lane) {
      std::uint32_t at = rank[lane];
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        if ((escaped[lane] >> i & 1) != 0) escaped_symbols[at++] = static_cast<std::uint16_t>(symbols[lane].values[i]);
      }
    });
    warp.sync();
    put_escapes(warp, plan, planes, escaped_symbols, num_escaped, ranks, num_written_out, dst);
  }
  return planes.num_bytes;
}

}  // namespace stillbit::escape
