#pragma once

#include "warp/output.hpp"

#include <type_traits>

// How a warp expands a row (spec.md). A lane has eight neighbouring columns: their fields take whole bytes, and it
// counts its markers within a register.

namespace stillbit::window {

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint64_t base = 0;  ///< of all columns, where they have the same
  std::uint32_t num_columns = 0;
  std::uint32_t plane_bytes = 0;
  std::uint32_t field_bits = 0;
  std::uint32_t dropped_bits = 0;
  std::uint32_t is_signed = 0;
  std::uint32_t bases_at = 0;  ///< 0, or where the bases of all columns and kLaneColumns more are: a word each
};

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  /// What numbers are computed in.
  using Number = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte*);

  STILLBIT_WARP static Word word_of(const Plan& plan, Number value) {
    constexpr unsigned kWordBits = 8 * sizeof(Word);
    if (plan.is_signed == 0) return static_cast<Word>(value << plan.dropped_bits);
    const Number magnitude = (value & static_cast<Number>(warp::low_mask_64(kWordBits - plan.dropped_bits))) >> 1;
    return static_cast<Word>(magnitude << plan.dropped_bits | (value & 1) << (kWordBits - 1));
  }
};

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte*) {
  using warp::kLaneColumns;
  if (row.num_bytes < plan.plane_bytes) return false;
  const auto marker = static_cast<Number>(warp::low_mask_64(plan.field_bits));
  const bool has_markers = plan.field_bits != 0;
  const auto* const bases = reinterpret_cast<const Word*>(reinterpret_cast<const std::byte*>(&plan) + plan.bases_at);
  const std::uint32_t max_exceptions = (row.num_bytes - plan.plane_bytes) / sizeof(Word);
  std::uint32_t num_exceptions = 0;

  struct Columns {
    Word words[kLaneColumns];
  };
  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, Columns> columns;
    warp::PerLane<Warp, std::uint32_t> marked;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      marked[lane] = 0;
      rank[lane] = 0;
      if (column >= plan.num_columns) return;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        const auto field = warp::load_bits<Number>(row, (column + i) * plan.field_bits, plan.field_bits);
        const Number base = plan.bases_at == 0 ? static_cast<Number>(plan.base) : Number{bases[column + i]};
        columns[lane].words[i] = word_of(plan, base + field);
        marked[lane] |= static_cast<std::uint32_t>(has_markers && field == marker) << i;
      }
      const std::uint32_t num_columns = plan.num_columns - column;
      if (num_columns < kLaneColumns) marked[lane] &= warp::low_mask(num_columns);
      rank[lane] = warp::popcount(marked[lane]);
    });
    const std::uint32_t num_marked = warp::exclusive_sum(warp, rank);
    if (num_marked != 0) {
      if (num_marked > max_exceptions - num_exceptions) return false;
      const std::uint32_t exceptions_at = plan.plane_bytes + num_exceptions * static_cast<std::uint32_t>(sizeof(Word));
      warp.each([&](unsigned lane) {
        std::uint32_t at = exceptions_at + rank[lane] * static_cast<std::uint32_t>(sizeof(Word));
        STILLBIT_UNROLL
        for (unsigned i = 0; i < kLaneColumns; ++i) {
          if ((marked[lane] >> i & 1) == 0) continue;
          columns[lane].words[i] = static_cast<Word>(warp::load_bits<Number>(row, at * 8, 8 * sizeof(Word)));
          at += sizeof(Word);
        }
      });
      num_exceptions += num_marked;
    }
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      if (column < plan.num_columns) warp::store_words(out, column, columns[lane].words);
    });
  }
  return true;
}

}  // namespace stillbit::window
