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

 private:
  /// How words are made of numbers: what of it is the same for all of them.
  struct Shape {
    unsigned dropped_bits = 0;
    unsigned sign_bits = 0;     ///< at the number's low end: 1, or 0
    Number magnitude_mask = 0;  ///< of the bits behind those
    Number sign_mask = 0;       ///< of the word

    STILLBIT_WARP explicit Shape(const Plan& plan)
        : dropped_bits(plan.dropped_bits),
          sign_bits(plan.is_signed),
          magnitude_mask(static_cast<Number>(warp::low_mask_64(kWordBits - plan.dropped_bits)) >> plan.is_signed),
          sign_mask(plan.is_signed == 0 ? 0 : Number{1} << (kWordBits - 1)) {}

    STILLBIT_WARP Word word_of(Number value) const {
      return static_cast<Word>((value >> sign_bits & magnitude_mask) << dropped_bits |
                               (value << (kWordBits - 1) & sign_mask));
    }
  };

  static constexpr unsigned kWordBits = 8 * sizeof(Word);

  /// The bases of a lane's columns, all at once.
  struct alignas(8) Bases {
    Word of[warp::kLaneColumns];
  };
};

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& stored_plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte*) {
  using warp::kLaneColumns;
  // A copy: what is in memory would be read again after every store.
  const Plan plan = stored_plan;
  if (row.num_bytes < plan.plane_bytes) return false;
  const Shape shape(plan);
  const auto marker = static_cast<Number>(warp::low_mask_64(plan.field_bits));
  const bool has_markers = plan.field_bits != 0;
  const auto* const bases =
      reinterpret_cast<const Bases*>(reinterpret_cast<const std::byte*>(&stored_plan) + plan.bases_at);
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
      Number fields[kLaneColumns];
      warp::load_fields<Word>(row, column * plan.field_bits, plan.field_bits, fields);
      if (plan.bases_at == 0) {
        STILLBIT_UNROLL
        for (unsigned i = 0; i < kLaneColumns; ++i)
          columns[lane].words[i] = shape.word_of(static_cast<Number>(plan.base) + fields[i]);
      } else {
        const Bases base = bases[column / kLaneColumns];
        STILLBIT_UNROLL
        for (unsigned i = 0; i < kLaneColumns; ++i) columns[lane].words[i] = shape.word_of(base.of[i] + fields[i]);
      }
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i)
        marked[lane] |= static_cast<std::uint32_t>(has_markers && fields[i] == marker) << i;
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
