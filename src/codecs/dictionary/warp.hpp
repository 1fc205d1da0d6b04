#pragma once

#include "warp/output.hpp"

#include <type_traits>

// How a warp expands a row (spec.md). A lane has eight neighbouring columns; where their fields are, and what these
// stand for, is in tables. Patches lie behind the fields and misses behind all patches of the row, so that where a
// plan has both, the bits of the patches are counted first. Where a lane's patches are, and then its misses, follows
// from a sum over the warp each.

namespace stillbit::dictionary {

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint32_t num_columns = 0;
  std::uint32_t num_field_bits = 0;           ///< S in spec.md
  std::uint32_t columns_at = 0;               ///< WarpColumn of all columns and kLaneColumns more
  std::uint32_t kinds_at = 0;                 ///< WarpKind of all kinds
  std::uint32_t words_at = 0;                 ///< words of the view: what codes stand for
  std::uint32_t has_codes_before_misses = 0;  ///< there are misses, and patches that have codes
};

/// A column's field: two reads of 8 bytes.
struct alignas(8) WarpColumn {
  std::uint32_t bit_offset = 0;
  std::uint32_t packed = 0;                     ///< its kind, field_bits << 16, is_window << 24
  std::uint32_t first_word = 0;                 ///< dictionary: which of the words field 0 stands for
  std::uint32_t threshold = ~std::uint32_t{0};  ///< dictionary: fields from here on are patches

  [[nodiscard]] STILLBIT_WARP std::uint32_t kind() const { return packed & 0xFFFFU; }
  [[nodiscard]] STILLBIT_WARP unsigned field_bits() const { return packed >> 16 & 0xFFU; }
  [[nodiscard]] STILLBIT_WARP bool is_window() const { return packed >> 24 != 0; }
};

struct alignas(8) WarpKind {
  std::uint64_t base = 0;
  std::uint64_t wrap_mask = 0;         ///< sums with the base wrap around there
  std::uint32_t first_patch_word = 0;  ///< which of the words patch code 0 stands for
  // Of fields, read together.
  std::uint8_t code_bits = 0;
  std::uint8_t shift = 0;
  std::uint8_t sign_bits = 0;
  std::uint8_t has_marker = 0;
  // Of patches and misses, likewise.
  std::uint8_t patch_bits = 0;
  std::uint8_t number_bits = 0;
  std::uint8_t has_misses = 0;
  std::uint8_t reserved = 0;
};

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  using Number = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte*);

 private:
  /// What a lane has of a step.
  struct Columns {
    Word words[warp::kLaneColumns];
    std::uint32_t marked;  ///< bit i: column i is a patch, and has its sign alone as yet
  };

  /// Where patch codes and misses are that no lane has had yet.
  struct Behind {
    std::uint32_t patches_at;
    std::uint32_t misses_at;
  };

  struct Tables {
    const WarpColumn* columns;
    const WarpKind* kinds;
    const Word* words;
  };

  STILLBIT_WARP static Tables tables_of(const Plan& plan) {
    const auto* const start = reinterpret_cast<const std::byte*>(&plan);
    return {reinterpret_cast<const WarpColumn*>(start + plan.columns_at),
            reinterpret_cast<const WarpKind*>(start + plan.kinds_at),
            reinterpret_cast<const Word*>(start + plan.words_at)};
  }

  STILLBIT_WARP static Word word_of(const WarpKind& kind, Number number) {
    return static_cast<Word>(((number + static_cast<Number>(kind.base)) & static_cast<Number>(kind.wrap_mask))
                             << kind.shift);
  }

  /// The word of a window's field; of a patch the sign.
  STILLBIT_WARP static Word word_in_window(const WarpKind& kind, Number field, bool& is_patch) {
    const Number code = field >> kind.sign_bits;
    const Number sign = (field & kind.sign_bits) << (8 * sizeof(Word) - 1);
    is_patch = (kind.has_marker != 0) & (code == static_cast<Number>(warp::low_mask_64(kind.code_bits)));
    return static_cast<Word>((is_patch ? 0 : word_of(kind, code)) | sign);
  }

  /// The bits of all patch codes of a row.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t count_patch_bits(Warp& warp, const Plan& plan, const warp::ByteRun& row);

  /// Expands a lane's eight columns, but for their patches.
  STILLBIT_WARP static Columns expand_fields(const Tables& tables, const warp::ByteRun& row, std::uint32_t column);

  /// Puts the patches of a step into place. False if the row ends before.
  template <class Warp>
  STILLBIT_WARP static bool put_patches(Warp& warp, const Plan& plan, const warp::ByteRun& row, std::uint32_t first,
                                        warp::PerLane<Warp, Columns>& columns, Behind& behind);
};

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpCodec<Word>::count_patch_bits(Warp& warp, const Plan& plan, const warp::ByteRun& row) {
  const Tables tables = tables_of(plan);
  warp::PerLane<Warp, std::uint32_t> num_bits;
  warp.each([&](unsigned lane) {
    num_bits[lane] = 0;
    for (std::uint32_t i = lane; i < plan.num_columns; i += warp::kLanes) {
      const WarpColumn column = tables.columns[i];
      // Patches of windows have no code.
      if (!column.is_window() && row.bits(column.bit_offset, column.field_bits()) >= column.threshold)
        num_bits[lane] += tables.kinds[column.kind()].patch_bits;
    }
  });
  return warp.sum(num_bits);
}

template <class Word>
STILLBIT_WARP typename WarpCodec<Word>::Columns WarpCodec<Word>::expand_fields(const Tables& tables,
                                                                               const warp::ByteRun& row,
                                                                               std::uint32_t column) {
  Columns expanded;
  expanded.marked = 0;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < warp::kLaneColumns; ++i) {
    const WarpColumn field = tables.columns[column + i];
    bool is_patch = false;
    if (!field.is_window()) {
      const std::uint32_t bits = row.bits(field.bit_offset, field.field_bits());
      expanded.words[i] = tables.words[field.first_word + bits];
      is_patch = bits >= field.threshold;
    } else {
      const auto bits = warp::load_bits<Number>(row, field.bit_offset, field.field_bits());
      const WarpKind kind = tables.kinds[field.kind()];
      expanded.words[i] = word_in_window(kind, bits, is_patch);
    }
    expanded.marked |= static_cast<std::uint32_t>(is_patch) << i;
  }
  return expanded;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::put_patches(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                std::uint32_t first, warp::PerLane<Warp, Columns>& columns,
                                                Behind& behind) {
  using warp::kLaneColumns;
  const Tables tables = tables_of(plan);
  const std::uint32_t num_bits = row.num_bytes * 8;
  const auto kind_of = [&](unsigned lane, unsigned i) -> const WarpKind& {
    return tables.kinds[tables.columns[first + lane * kLaneColumns + i].kind()];
  };
  warp::PerLane<Warp, std::uint32_t> at;
  warp.each([&](unsigned lane) {
    at[lane] = 0;
    for (std::uint32_t left = columns[lane].marked; left != 0; left &= left - 1)
      at[lane] += kind_of(lane, warp::lowest_one(left)).patch_bits;
  });
  const std::uint32_t patch_bits = warp::exclusive_sum(warp, at);
  if (patch_bits > num_bits - behind.patches_at) return false;
  warp::PerLane<Warp, bool> has_missed;
  warp.each([&](unsigned lane) {
    std::uint32_t code_at = behind.patches_at + at[lane];
    std::uint32_t missed = 0;
    at[lane] = 0;
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kLaneColumns; ++i) {
      if ((columns[lane].marked >> i & 1) == 0) continue;
      const WarpKind& kind = kind_of(lane, i);
      const std::uint32_t code = row.bits(code_at, kind.patch_bits);
      code_at += kind.patch_bits;
      if (kind.has_misses != 0 && code == warp::low_mask(kind.patch_bits)) {
        missed |= 1U << i;
        at[lane] += kind.number_bits;
      } else {
        columns[lane].words[i] = static_cast<Word>(columns[lane].words[i] | tables.words[kind.first_patch_word + code]);
      }
    }
    columns[lane].marked = missed;
    has_missed[lane] = missed != 0;
  });
  behind.patches_at += patch_bits;
  if (warp.ballot(has_missed) == 0) return true;

  const std::uint32_t miss_bits = warp::exclusive_sum(warp, at);
  if (miss_bits > num_bits - behind.misses_at) return false;
  warp.each([&](unsigned lane) {
    std::uint32_t number_at = behind.misses_at + at[lane];
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kLaneColumns; ++i) {
      if ((columns[lane].marked >> i & 1) == 0) continue;
      const WarpKind& kind = kind_of(lane, i);
      const Word word = word_of(kind, warp::load_bits<Number>(row, number_at, kind.number_bits));
      columns[lane].words[i] = static_cast<Word>(columns[lane].words[i] | word);
      number_at += kind.number_bits;
    }
  });
  behind.misses_at += miss_bits;
  return true;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte*) {
  using warp::kLaneColumns;
  const std::uint32_t num_bits = row.num_bytes * 8;
  Behind behind{plan.num_field_bits, plan.num_field_bits};
  if (plan.num_field_bits > num_bits) return false;
  if (plan.has_codes_before_misses != 0) {
    behind.misses_at += count_patch_bits(warp, plan, row);
    if (behind.misses_at > num_bits) return false;
  }
  const Tables tables = tables_of(plan);
  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, Columns> columns;
    warp::PerLane<Warp, bool> has_patches;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      columns[lane].marked = 0;
      if (column < plan.num_columns) columns[lane] = expand_fields(tables, row, column);
      has_patches[lane] = columns[lane].marked != 0;
    });
    if (warp.ballot(has_patches) != 0 && !put_patches(warp, plan, row, first, columns, behind)) return false;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      if (column < plan.num_columns) warp::store_words(out, column, columns[lane].words);
    });
  }
  return true;
}

}  // namespace stillbit::dictionary
