#pragma once

#include "codecs/escape/lane.hpp"
#include "warp/output.hpp"

// A row's plan and planes as warps read them (spec.md).

namespace stillbit::escape {

inline constexpr unsigned kMaxWarpTiers = 3;

/// The tiers that there are.
struct Tiers {
  std::uint32_t count = 0;
  std::uint32_t widths[kMaxWarpTiers] = {};  ///< of codes, in bits
  bool operator==(const Tiers&) const = default;
};

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint64_t rest_mask = 0;  ///< as in WordShape
  std::uint64_t sign_mask = 0;
  std::uint32_t kept_mask = 0;                     ///< both, of words of up to four bytes, in all places of a register
  std::uint32_t is_usual = 0;                      ///< 1: see kUsualTiers
  std::uint32_t low_bytes[kMaxWarpTiers][4] = {};  ///< of the symbols of each tier's codes: a byte each, 0 of code 0
  std::uint32_t num_columns = 0;
  std::uint32_t fixed_bytes = 0;
  std::uint32_t fixed_bits = 0;
  std::uint32_t dropped_bits = 0;
  std::uint32_t symbol_at = 0;
  std::uint32_t sign_shift = 0;
  std::uint32_t symbol_mask = 0;
  std::uint32_t symbol_size = 0;
  std::uint32_t row_shift_bytes = 0;   ///< 0, or symbol_size
  std::uint32_t counts_at = 0;         ///< where a row's counts are
  std::uint32_t count_bits = 0;        ///< of each
  std::uint32_t escapes_at = 0;        ///< behind the counts
  std::uint32_t column_shifts_at = 0;  ///< 0, or where the shifts of all columns and kLaneColumns more are
  Tiers tiers;
  std::uint16_t symbols[kMaxWarpTiers][16] = {};  ///< of each tier's codes; that of code 0, the escape, is 0
};
static_assert(sizeof(WarpPlan) % 8 == 0, "column shifts are behind it");

/// Where a plane of codes is, and how many there are.
struct CodePlane {
  std::uint32_t at = 0;
  std::uint32_t num_codes = 0;
  std::uint32_t width = 0;
  bool is_first = false;  ///< tier: only its codes are in blocks

  [[nodiscard]] STILLBIT_WARP std::uint32_t num_bytes() const { return (num_codes * width + 7) / 8; }
  /// Codes in whole blocks; the others lie one after the other.
  [[nodiscard]] STILLBIT_WARP std::uint32_t num_blocked() const {
    return is_first ? num_codes / kBlockCodes * kBlockCodes : 0;
  }
};

/// Eight codes of a plane: code i has nibble 2 × i, and code 4 + i nibble 2 × i + 1. So the low half and the high half
/// select bytes, for codes 0, 4, 1, 5 and 2, 6, 3, 7 (byte_permute), and sums of nibbles go over four codes.
using CodeNibbles = std::uint32_t;

/// Code 1 eight times: what stands for codes that do not exist.
inline constexpr CodeNibbles kNoEscapes = 0x11111111;

/// Where code `i` is in CodeNibbles, in bits.
STILLBIT_WARP constexpr unsigned nibble_at(unsigned i) {
  return i % 4 * 8 + i / 4 * 4;
}

/// Bits 0 to 3, each as the lowest of a byte.
STILLBIT_WARP std::uint32_t spread_four_bits(std::uint32_t bits) {
  return (bits & 0xFU) * 0x00204081U & 0x01010101U;
}

/// Codes 8 × (lane % 8) to 8 × (lane % 8) + 7 of block step / 64 + lane / 8; `step` is a multiple of 64.
STILLBIT_WARP CodeNibbles nibbles_of_block(const warp::ByteRun& row, const CodePlane& plane, std::uint32_t step,
                                           unsigned lane) {
  // Fields of two bits at every fourth of a plane of pairs: those of all eight codes with two shifts.
  const std::uint32_t begin = row.first_byte + plane.at;
  const unsigned shift = begin % 4 * 8 + lane % 8 / 2 * 2;
  const auto pairs = [&](std::uint32_t word) {
    const std::uint32_t* const words = row.words + begin / 4 + lane % 2 * 2 + word;
    const std::uint32_t low = warp::funnel_shift_right(words[0], words[1], shift) & 0x03030303U;
    const std::uint32_t high = warp::funnel_shift_right(words[1], words[2], shift) & 0x03030303U;
    return high << 4 | low;
  };
  const unsigned width = plane.width;
  if (width == 2) return pairs(lane / 8 * 4 + step / kBlockCodes * 4);
  const std::uint32_t block = (lane / 8 + step / kBlockCodes) * 2 * width;  // in words
  CodeNibbles codes = 0;
  if (width != 1) codes = pairs(block);
  if (width == 4) return pairs(block + 4) << 2 | codes;
  const std::uint32_t bits = row.byte(plane.at + 4 * block + width / 2 * 16 + lane % 8);
  return (spread_four_bits(bits >> 4) << 4 | spread_four_bits(bits)) << (width - 1) | codes;
}

/// Eight codes of two bits that lie one after the other.
STILLBIT_WARP CodeNibbles nibbles_of_pairs(std::uint32_t fields) {
  const std::uint32_t twos = (fields | fields << 12) & 0x0F0F0F0FU;  // codes 0 and 1, 4 and 5, 2 and 3, 6 and 7
  const std::uint32_t even = twos & 0x03030303U;
  const std::uint32_t odd = twos >> 2 & 0x03030303U;
  return warp::byte_permute(even, odd, 0x7351) << 4 | warp::byte_permute(even, odd, 0x6240);
}

/// Four codes that lie one after the other in the low bits of `fields`, a byte each.
STILLBIT_WARP std::uint32_t four_codes(std::uint32_t fields, unsigned width) {
  fields &= warp::low_mask(4 * width);
  const std::uint32_t pairs = (fields | fields << (16 - 2 * width)) & warp::low_mask(2 * width) * 0x00010001U;
  return (pairs | pairs << (8 - width)) & warp::low_mask(width) * 0x01010101U;
}

/// Codes `first` to `first` + 7, which lie one after the other. Those that do not exist are 1.
STILLBIT_WARP CodeNibbles nibbles_in_turn(const warp::ByteRun& row, const CodePlane& plane, std::uint32_t first) {
  const unsigned width = plane.width;
  const std::uint32_t in_blocks = plane.num_blocked();
  const std::uint32_t num_codes = plane.num_codes - first;
  const std::uint32_t fields = row.bits((plane.at + in_blocks / 8 * width) * 8 + (first - in_blocks) * width, 32);
  const CodeNibbles codes = width == 2 ? nibbles_of_pairs(fields & 0xFFFFU)
                                       : four_codes(fields >> (4 * width), width) << 4 | four_codes(fields, width);
  if (num_codes >= 8) return codes;
  const std::uint32_t missing = 0xFFU << num_codes;
  return codes | spread_four_bits(missing >> 4) << 4 | spread_four_bits(missing);
}

/// A lane's eight codes, from code `step` + 8 × `lane` on; `step` is a multiple of 256.
STILLBIT_WARP CodeNibbles lane_codes(const warp::ByteRun& row, const CodePlane& plane, std::uint32_t step,
                                     unsigned lane) {
  const std::uint32_t first = step + lane * 8;
  // Mostly all lanes go the first way: nothing there is asked lane by lane.
  if (plane.is_first && plane.width == 2 && step + warp::kStepColumns <= plane.num_codes)
    return nibbles_of_block(row, plane, step, lane);
  if (first < plane.num_blocked()) return nibbles_of_block(row, plane, step, lane);
  return first < plane.num_codes ? nibbles_in_turn(row, plane, first) : kNoEscapes;
}

/// The lowest bit of a nibble is set where that is 0, an escape.
STILLBIT_WARP CodeNibbles escapes_in(CodeNibbles codes, unsigned width) {
  std::uint32_t any = codes | codes >> 1;
  if (width > 2) any |= any >> 2;
  return ~any & 0x11111111U;
}

/// The planes of a row, and where the symbols are that are written out.
struct RowPlanes {
  CodePlane tiers[kMaxWarpTiers];
  std::uint32_t symbols_at = 0;
};

/// Finds the planes of a row. `tiers` are those of the plan, known to the compiler perhaps. False if they do not lie
/// within it. That there are so many escapes as the row says is to be seen when they are found.
STILLBIT_WARP bool find_planes(const WarpPlan& plan, const Tiers& tiers, const warp::ByteRun& row, RowPlanes& planes) {
  std::uint32_t at = plan.escapes_at;
  if (at > row.num_bytes) return false;
  planes.tiers[0] = {plan.fixed_bytes, plan.num_columns, tiers.widths[0], true};
  STILLBIT_UNROLL
  for (unsigned i = 1; i < kMaxWarpTiers; ++i) {
    if (i >= tiers.count) break;
    const std::uint32_t count = row.bits(plan.counts_at * 8 + (i - 1) * plan.count_bits, plan.count_bits);
    if (count > planes.tiers[i - 1].num_codes) return false;
    planes.tiers[i] = {at, count, tiers.widths[i], false};
    at += planes.tiers[i].num_bytes();
    if (at > row.num_bytes) return false;
  }
  planes.symbols_at = at;
  return true;
}

/// What is added to all symbols of a row.
STILLBIT_WARP std::uint32_t row_shift_of(const WarpPlan& plan, const warp::ByteRun& row) {
  if (plan.row_shift_bytes == 0) return 0;
  return row.bits((plan.counts_at - plan.row_shift_bytes) * 8, 8 * plan.row_shift_bytes);
}

}  // namespace stillbit::escape
