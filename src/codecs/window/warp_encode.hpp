#pragma once

#include "codecs/window/warp.hpp"
#include "warp/bit_writer.hpp"
#include "warp/lane_words.hpp"

// How a warp encodes a row (spec.md): what warp.hpp does the other way round, with the same plan.

namespace stillbit::window {

static_assert(sizeof(WarpPlan) % 16 == 0, "bases are loaded in wide words");

template <class Word_>
struct WarpEncoder {
  using Word = Word_;
  using Plan = WarpPlan;
  using Number = warp::NumberOf<Word>;

  /// The plan is at a multiple of 16. Into `dst`, which is row.num_bytes zeros. Returns the stored size, or kStoredRaw.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t encode(Warp& warp, const Plan& plan, const warp::ByteRun& row, std::uint32_t* dst,
                                            std::byte*);

 private:
  static constexpr unsigned kWordBits = 8 * sizeof(Word);

  /// `sign_bits` is 0 or 1.
  STILLBIT_WARP static Number value_of(Number word, unsigned dropped_bits, unsigned sign_bits) {
    const Number magnitude = word & static_cast<Number>(warp::low_mask_64(kWordBits - sign_bits));
    return magnitude >> dropped_bits << sign_bits | (word >> (kWordBits - 1) & sign_bits);
  }
};

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::encode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                      std::uint32_t* dst, std::byte*) {
  using warp::kLaneColumns;
  constexpr auto kWordBytes = static_cast<std::uint32_t>(sizeof(Word));
  // Copies of what the plan says: as far as a compiler knows, what is written may change it.
  const unsigned field_bits = plan.field_bits;
  const unsigned dropped_bits = plan.dropped_bits;
  const unsigned sign_bits = plan.is_signed;
  const auto common_base = warp::LaneWords<Word>::all(static_cast<Number>(plan.base));
  const bool has_column_bases = plan.bases_at != 0;
  const auto value_mask = static_cast<Number>(warp::low_mask_64(kWordBits - dropped_bits));
  const auto dropped = static_cast<Number>(warp::low_mask_64(dropped_bits));
  const auto marker = static_cast<Number>(warp::low_mask_64(field_bits));
  const Number limit = field_bits == 0 ? 1 : marker;  // of offsets
  const std::uint32_t max_exceptions = field_bits == 0 ? 0 : (row.num_bytes - 1 - plan.plane_bytes) / kWordBytes;
  const std::byte* const bases = reinterpret_cast<const std::byte*>(&plan) + plan.bases_at;
  std::uint32_t num_exceptions = 0;

  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, warp::LaneWords<Word>> words;
    warp::PerLane<Warp, std::uint32_t> marked;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      marked[lane] = 0;
      rank[lane] = 0;
      if (column >= plan.num_columns) return;
      words[lane] = warp::lane_words<Word>(row, column);
      const warp::LaneWords<Word> base = has_column_bases ? warp::aligned_words<Word>(bases, column) : common_base;
      const std::uint32_t num_columns = plan.num_columns - column;
      warp::LaneBits<Warp> fields(warp, dst, column * field_bits);
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        const Number word = words[lane][i];
        const Number from = base[i];
        const Number offset = (value_of(word, dropped_bits, sign_bits) - from) & value_mask;
        const bool is_exception = offset >= limit || (word & dropped) != 0;
        marked[lane] |= static_cast<std::uint32_t>(is_exception) << i;
        // Columns that do not exist write zeros, which change nothing.
        const Number field = is_exception ? marker : offset;
        fields.put(i < num_columns ? field : 0, field_bits);
      }
      fields.finish();
      marked[lane] &= warp::low_mask(num_columns);
      rank[lane] = warp::popcount(marked[lane]);
    });
    const std::uint32_t num_marked = warp::exclusive_sum(warp, rank);
    if (num_marked == 0) continue;
    if (num_marked > max_exceptions - num_exceptions) return warp::kStoredRaw;
    warp.each([&](unsigned lane) {
      std::uint32_t at = plan.plane_bytes + (num_exceptions + rank[lane]) * kWordBytes;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        if ((marked[lane] >> i & 1) == 0) continue;
        warp::or_bits(warp, dst, at * 8, words[lane][i]);
        at += kWordBytes;
      }
    });
    num_exceptions += num_marked;
  }
  return plan.plane_bytes + num_exceptions * kWordBytes;
}

}  // namespace stillbit::window
