#pragma once

#include "codecs/escape/warp_join.hpp"
#include "codecs/escape/warp_planes.hpp"

// How a warp expands a row whose symbols are bytes: words of one, two and four bytes.
//
// A lane has eight neighbouring codes, in the nibbles of a register. Nibbles select bytes, four with an instruction:
// that looks the codes up, and it puts the symbols of escapes, which are neighbours wherever they come from, into their
// places, since how many escapes are before each code are nibbles, too. Where a lane's escapes begin follows from one
// sum over the warp.
//
// Later tiers are expanded in the same way, 256 codes at a time and before they are needed, to symbols in a ring in
// shared memory, from which the tier before takes them. The last tier takes them from the row.

namespace stillbit::escape {

/// The escapes among eight codes.
struct Escapes {
  CodeNibbles are_at = 0;   ///< the lowest bit of a code's nibble is set
  CodeNibbles before = 0;   ///< how many there are before each code
  std::uint32_t count = 0;  ///< of all
};

STILLBIT_WARP Escapes find_escapes(CodeNibbles codes, unsigned width) {
  Escapes escapes;
  escapes.are_at = escapes_in(codes, width);
  // In byte i the escapes among codes 0 to i, and among codes 4 to 4 + i.
  const std::uint32_t sums = escapes.are_at * 0x01010101U;
  const std::uint32_t in_first_four = sums >> 24 & 0xFU;
  escapes.before = escapes.are_at * 0x01010100U + in_first_four * 0x10101010U;
  escapes.count = in_first_four + (sums >> 28);
  return escapes;
}

/// Of eight bytes, numbered i for those of `a` and 4 + i for those of `b`, the ones of `b` where `is_b` has ones.
STILLBIT_WARP EightSymbols select_symbols(const EightSymbols& a, const EightSymbols& b, CodeNibbles is_b) {
  const std::uint32_t sources = is_b * 4 + 0x32103210U;
  return {warp::byte_permute(a.of_0415, b.of_0415, sources), warp::byte_permute(a.of_2637, b.of_2637, sources >> 16)};
}

/// Of eight bytes the ones that nibbles below 8 name.
STILLBIT_WARP EightSymbols pick_symbols(std::uint32_t low, std::uint32_t high, CodeNibbles nibbles) {
  return {warp::byte_permute(low, high, nibbles), warp::byte_permute(low, high, nibbles >> 16)};
}

/// What eight codes stand for in a tier's table. Of escapes it is anything.
STILLBIT_WARP EightSymbols look_up(const std::uint32_t (&table)[4], CodeNibbles codes, unsigned width) {
  if (width < 4) return pick_symbols(table[0], table[1], codes);
  const CodeNibbles within = codes & 0x77777777U;
  return select_symbols(pick_symbols(table[0], table[1], within), pick_symbols(table[2], table[3], within),
                        codes >> 3 & 0x11111111U);
}

/// A plan of the kind that trained weights mostly get has tiers of these widths, no shifts, and, of words of two and
/// four bytes, the exponent of eight bits as the symbol and all else as the fixed field: floats are joined by
/// join_floats.
inline constexpr Tiers kUsualTiers{kMaxWarpTiers, {2, 2, 3}};

/// `kIsUsual`: the plan's is_usual. Then much is known beforehand.
template <class Word, class Warp, bool kIsUsual>
class NarrowRow {
 public:
  STILLBIT_WARP NarrowRow(Warp& warp, const WarpPlan& plan, const warp::ByteRun& row, std::byte* scratch)
      : warp_(warp),
        plan_(plan),
        row_(row),
        rings_(reinterpret_cast<std::uint32_t*>(scratch)),
        tiers_(kIsUsual ? kUsualTiers : plan.tiers) {}

  /// False if the row is malformed.
  STILLBIT_WARP bool expand(const warp::Output& out);

 private:
  static constexpr std::uint32_t kStepCodes = warp::kStepColumns;
  static_assert(kStepCodes == warp::kLanes * 8, "a lane has eight codes");

  /// The symbols of a step's escapes are in two steps of their tier.
  static constexpr std::uint32_t kRingBytes = 2 * kStepCodes;
  /// Behind a ring its beginning is repeated: 12 bytes are read from any multiple of 4.
  static constexpr std::uint32_t kRingStride = kRingBytes + 16;
  static_assert((kMaxWarpTiers - 1) * kRingStride <= warp::kScratchBytes);

  /// Of each tier but the first.
  [[nodiscard]] STILLBIT_WARP std::uint32_t* ring(unsigned tier) const {
    return rings_ + (tier - 1) * (kRingStride / 4);
  }

  [[nodiscard]] STILLBIT_WARP bool is_last(unsigned tier) const { return tier + 1 == tiers_.count; }

  /// 256 codes of a tier, eight for each lane, whose escapes are still to be found.
  struct OpenStep {
    warp::PerLane<Warp, Escapes> escapes;
    warp::PerLane<Warp, std::uint32_t> rank;  ///< of the lane's first escape among those of the step
  };

  /// The tier's codes `step` to `step` + 255, looked up. Returns how many of them are escapes.
  template <unsigned kTier>
  STILLBIT_WARP std::uint32_t open_step(const std::uint32_t (&table)[4], std::uint32_t step, OpenStep& open,
                                        warp::PerLane<Warp, EightSymbols>& symbols);
  /// Puts the symbols of escapes in their places.
  template <unsigned kTier>
  STILLBIT_WARP void close_step(const OpenStep& open, warp::PerLane<Warp, EightSymbols>& symbols);

  /// The symbols of the tier's codes `step` to `step` + 255, eight for each lane.
  template <unsigned kTier>
  STILLBIT_WARP void expand_step(const std::uint32_t (&table)[4], std::uint32_t step,
                                 warp::PerLane<Warp, EightSymbols>& symbols);

  /// Stores the symbols of a step of a later tier in its ring, for the tier before.
  STILLBIT_WARP void store_to_ring(unsigned tier, std::uint32_t step, const warp::PerLane<Warp, EightSymbols>& symbols);

  /// Expands the tier until the next `count` symbols are in its ring.
  template <unsigned kTier>
  STILLBIT_WARP void expand_to_ring(std::uint32_t count);

  /// The symbols of neighbouring escapes of a tier, from the one of rank `rank` on, in order.
  STILLBIT_WARP void load_escapes(unsigned tier, std::uint32_t rank, std::uint32_t (&symbols)[2]) const;

  Warp& warp_;
  const WarpPlan& plan_;  ///< in memory, and read again after every store: what is needed often is copied
  const warp::ByteRun& row_;
  std::uint32_t* rings_;
  const Tiers tiers_;
  RowPlanes planes_;
  std::uint32_t max_symbols_ = 0;                   ///< written out, as many as lie within the row
  std::uint32_t num_escapes_[kMaxWarpTiers] = {};   ///< of each tier that are behind the warp
  std::uint32_t num_expanded_[kMaxWarpTiers] = {};  ///< codes of each tier but the first that have been in its ring
};

template <class Word, class Warp, bool kIsUsual>
STILLBIT_WARP void NarrowRow<Word, Warp, kIsUsual>::load_escapes(unsigned tier, std::uint32_t rank,
                                                                 std::uint32_t (&symbols)[2]) const {
  std::uint32_t byte = rank % kRingBytes;
  const std::uint32_t* words = ring(tier + 1);
  if (is_last(tier)) {
    // A malformed row announces more than it has.
    byte = row_.first_byte + planes_.symbols_at + (rank < max_symbols_ ? rank : max_symbols_);
    words = row_.words;
  }
  words += byte / 4;
  symbols[0] = warp::funnel_shift_right(words[0], words[1], byte * 8);
  symbols[1] = warp::funnel_shift_right(words[1], words[2], byte * 8);
}

template <class Word, class Warp, bool kIsUsual>
template <unsigned kTier>
STILLBIT_WARP std::uint32_t NarrowRow<Word, Warp, kIsUsual>::open_step(const std::uint32_t (&table)[4],
                                                                       std::uint32_t step, OpenStep& open,
                                                                       warp::PerLane<Warp, EightSymbols>& symbols) {
  const CodePlane& codes_plane = planes_.tiers[kTier];
  warp_.each([&](unsigned lane) {
    const CodeNibbles codes = lane_codes(row_, codes_plane, step, lane);
    open.escapes[lane] = find_escapes(codes, codes_plane.width);
    open.rank[lane] = open.escapes[lane].count;
    symbols[lane] = look_up(table, codes, codes_plane.width);
  });
  return warp::exclusive_sum(warp_, open.rank);
}

template <class Word, class Warp, bool kIsUsual>
template <unsigned kTier>
STILLBIT_WARP void NarrowRow<Word, Warp, kIsUsual>::close_step(const OpenStep& open,
                                                               warp::PerLane<Warp, EightSymbols>& symbols) {
  warp_.each([&](unsigned lane) {
    std::uint32_t found[2];
    load_escapes(kTier, num_escapes_[kTier] + open.rank[lane], found);
    symbols[lane] = select_symbols(symbols[lane], pick_symbols(found[0], found[1], open.escapes[lane].before),
                                   open.escapes[lane].are_at);
  });
}

template <class Word, class Warp, bool kIsUsual>
template <unsigned kTier>
STILLBIT_WARP void NarrowRow<Word, Warp, kIsUsual>::expand_step(const std::uint32_t (&table)[4], std::uint32_t step,
                                                                warp::PerLane<Warp, EightSymbols>& symbols) {
  OpenStep open;
  const std::uint32_t count = open_step<kTier>(table, step, open, symbols);
  if constexpr (kTier + 1 < kMaxWarpTiers) {
    if (!is_last(kTier)) expand_to_ring<kTier + 1>(count);
  }
  close_step<kTier>(open, symbols);
  num_escapes_[kTier] += count;
}

template <class Word, class Warp, bool kIsUsual>
STILLBIT_WARP void NarrowRow<Word, Warp, kIsUsual>::store_to_ring(unsigned tier, std::uint32_t step,
                                                                  const warp::PerLane<Warp, EightSymbols>& symbols) {
  warp_.each([&](unsigned lane) {
    using Eight = warp::Vector<8>;
    const Eight eight{{symbols[lane].first_four(), symbols[lane].last_four()}};
    const std::uint32_t at = step % kRingBytes + lane * 8;
    *reinterpret_cast<Eight*>(ring(tier) + at / 4) = eight;
    if (at == 0) *reinterpret_cast<Eight*>(ring(tier) + kRingBytes / 4) = eight;
  });
  warp_.sync();
}

template <class Word, class Warp, bool kIsUsual>
template <unsigned kTier>
STILLBIT_WARP void NarrowRow<Word, Warp, kIsUsual>::expand_to_ring(std::uint32_t count) {
  while (num_expanded_[kTier] < num_escapes_[kTier - 1] + count) {
    warp::PerLane<Warp, EightSymbols> symbols;
    expand_step<kTier>(plan_.low_bytes[kTier], num_expanded_[kTier], symbols);
    warp_.sync();  // the lanes are done with what was there
    store_to_ring(kTier, num_expanded_[kTier], symbols);
    num_expanded_[kTier] += kStepCodes;
  }
}

template <class Word, class Warp, bool kIsUsual>
STILLBIT_WARP bool NarrowRow<Word, Warp, kIsUsual>::expand(const warp::Output& out) {
  using Columns = Join<Word>;
  constexpr unsigned kStoreBytes = sizeof(Word) == 1 ? 8 : 16;
  const std::uint32_t num_columns = plan_.num_columns;
  const std::uint32_t table[4] = {plan_.low_bytes[0][0], plan_.low_bytes[0][1], plan_.low_bytes[0][2],
                                  plan_.low_bytes[0][3]};
  if (!find_planes(plan_, tiers_, row_, planes_)) return false;
  max_symbols_ = row_.num_bytes - planes_.symbols_at;
  const Columns columns(plan_, row_);
  const warp::WideStores<kStoreBytes> wide(out);
  for (std::uint32_t step = 0; step < num_columns; step += kStepCodes) {
    warp::PerLane<Warp, EightSymbols> symbols;
    expand_step<0>(table, step, symbols);
    warp_.each([&](unsigned lane) {
      const std::uint32_t column = step + lane * warp::kLaneColumns;
      const std::uint32_t at = column * static_cast<std::uint32_t>(sizeof(Word));
      std::uint32_t parts[Columns::kParts];
      const auto join = [&] {
        if constexpr (kIsUsual && sizeof(Word) > 1) {
          columns.join_floats(column, symbols[lane], parts);
        } else {
          columns.join(column, symbols[lane], parts);
        }
      };
      // Mostly all lanes go the first way.
      if (wide.has(at) && wide.has(at + 4 * Columns::kParts - kStoreBytes)) {
        join();
        STILLBIT_UNROLL
        for (unsigned i = 0; i < Columns::kParts; i += kStoreBytes / 4) wide.store(at + 4 * i, parts + i);
      } else if (column < num_columns) {
        join();
        warp::store_parts(out, at, parts);
      }
    });
  }
  bool are_as_many = true;
  std::uint32_t num_written_out = num_escapes_[0];
  STILLBIT_UNROLL
  for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
    if (i >= tiers_.count) break;
    are_as_many = are_as_many && num_escapes_[i - 1] == planes_.tiers[i].num_codes;
    num_written_out = num_escapes_[i];
  }
  return are_as_many && num_written_out <= max_symbols_;
}

}  // namespace stillbit::escape
