#pragma once

#include "warp/output.hpp"

#include <type_traits>

// How a warp expands a row (spec.md). It fills the row with the background, and then puts the elements and the
// exceptions into place, a lane for each of them: how many ones there are before an element's own says where its
// field is, and in which bucket it is.

namespace stillbit::sparse {

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint64_t background = 0;
  std::uint64_t base = 0;  ///< of a window
  std::uint32_t num_columns = 0;
  std::uint32_t num_buckets = 0;
  std::uint32_t minimum_bytes = 0;
  std::uint32_t low_bits = 0;  ///< 0: columns are a bitmap
  std::uint32_t code_bits = 0;
  std::uint32_t column_bits = 0;
  std::uint32_t is_window = 0;
  std::uint32_t sign_bits = 0;   ///< of a window
  std::uint32_t drop_bits = 0;   ///< of a window: the sign, and the zeros at the low end
  std::uint32_t num_values = 0;  ///< of a dictionary
  std::uint32_t values_at = 0;   ///< of a dictionary: words
  std::uint32_t reserved = 0;
};

/// Bits that a lane looks for elements at a time: the places of all lanes' elements fit into scratch memory.
inline constexpr std::uint32_t kLanePositions = 16;
inline constexpr std::uint32_t kStepPositions = warp::kLanes * kLanePositions;
static_assert(kStepPositions * sizeof(std::uint16_t) <= 1024, "the places of a step fit into scratch memory");

/// The place of the one that has `rank` ones below it. Precondition: there is one.
STILLBIT_WARP unsigned select_one(std::uint32_t bits, unsigned rank) {
  unsigned place = 0;
  STILLBIT_UNROLL
  for (unsigned width = 16; width > 0; width /= 2) {
    const unsigned below = warp::popcount(bits & warp::low_mask(width));
    if (rank < below) continue;
    rank -= below;
    bits >>= width;
    place += width;
  }
  return place;
}

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  using Number = std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>;
  static constexpr std::uint32_t kWordBits = 8 * sizeof(Word);

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte* scratch);

 private:
  /// The bits of the row where its upper parts, or the bitmap, end, and how many of them are ones.
  struct Upper {
    std::uint32_t num_bits = 0;
    std::uint32_t num_elements = 0;
  };

  /// A word to be put into its column.
  struct Element {
    std::uint32_t column;
    Word word;
  };

  STILLBIT_WARP static Word word_in_window(const Plan& plan, Number code) {
    // Shifted up and back so that a sum that wraps around loses its upper bits.
    const auto magnitude =
        static_cast<Word>(((code >> plan.sign_bits) + static_cast<Number>(plan.base)) << plan.drop_bits);
    const Number sign = plan.sign_bits == 0 ? 0 : (code & 1) << (kWordBits - 1);
    return static_cast<Word>(static_cast<Number>(magnitude >> plan.sign_bits) | sign);
  }

  /// False where a code names no word.
  STILLBIT_WARP static bool word_of(const Plan& plan, Number code, Word& word) {
    if (plan.is_window != 0) {
      word = word_in_window(plan, code);
      return true;
    }
    if (code >= plan.num_values) return false;
    const auto* const start = reinterpret_cast<const std::byte*>(&plan);
    word = reinterpret_cast<const Word*>(start + plan.values_at)[code];
    return true;
  }

  /// False if the row ends before its upper parts.
  template <class Warp>
  STILLBIT_WARP static bool find_upper(Warp& warp, const Plan& plan, const warp::ByteRun& row, Upper& upper);

  template <class Warp>
  STILLBIT_WARP static void fill(Warp& warp, const Plan& plan, const warp::Output& out);

  /// Puts up to a warp's elements into their columns. False unless these are columns of the row, each above the one
  /// before. `next_column` is the first one that the next may have. Precondition: at least one element.
  template <class Warp>
  STILLBIT_WARP static bool put(Warp& warp, const Plan& plan, const warp::PerLane<Warp, Element>& elements,
                                std::uint32_t count, const warp::Output& out, std::uint32_t& next_column);

  /// Reads the element that has `rank` elements before it, and its one at bit `position`. False if it has no word.
  STILLBIT_WARP static bool read_element(const Plan& plan, const warp::ByteRun& row, const Upper& upper,
                                         std::uint32_t rank, std::uint32_t position, Element& element);

  template <class Warp>
  STILLBIT_WARP static bool put_elements(Warp& warp, const Plan& plan, const warp::ByteRun& row, const Upper& upper,
                                         const warp::Output& out, std::uint16_t* positions);

  template <class Warp>
  STILLBIT_WARP static bool put_exceptions(Warp& warp, const Plan& plan, const warp::ByteRun& row, std::uint32_t at,
                                           const warp::Output& out);
};

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::find_upper(Warp& warp, const Plan& plan, const warp::ByteRun& row, Upper& upper) {
  constexpr std::uint32_t kBits = 32;
  const bool is_bitmap = plan.low_bits == 0;
  const std::uint32_t end = is_bitmap ? plan.num_columns : row.num_bytes * 8;
  std::uint32_t num_ones = 0;
  std::uint32_t num_missing = plan.num_buckets;
  for (std::uint32_t first = 0; first < end; first += warp::kLanes * kBits) {
    warp::PerLane<Warp, std::uint32_t> sought;
    warp::PerLane<Warp, std::uint32_t> before;
    warp.each([&](unsigned lane) {
      const std::uint32_t at = first + lane * kBits;
      sought[lane] = 0;
      if (at < end) sought[lane] = (is_bitmap ? row.bits(at, kBits) : ~row.bits(at, kBits)) & warp::low_mask(end - at);
      before[lane] = warp::popcount(sought[lane]);
    });
    const std::uint32_t total = warp::exclusive_sum(warp, before);
    num_ones += total;
    if (is_bitmap) continue;
    if (total < num_missing) {
      num_missing -= total;
      continue;
    }
    warp::PerLane<Warp, bool> has_last;
    warp::PerLane<Warp, std::uint32_t> behind_last;
    warp.each([&](unsigned lane) {
      const std::uint32_t num_left = num_missing - before[lane];  // a large number where the lanes below have them all
      has_last[lane] = num_left - 1 < warp::popcount(sought[lane]);
      behind_last[lane] = has_last[lane] ? first + lane * kBits + select_one(sought[lane], num_left - 1) + 1 : 0;
    });
    upper.num_bits = warp.broadcast(behind_last, warp::lowest_one(warp.ballot(has_last)));
    upper.num_elements = upper.num_bits - plan.num_buckets;
    return true;
  }
  upper = {end, num_ones};
  return is_bitmap;
}

template <class Word>
template <class Warp>
STILLBIT_WARP void WarpCodec<Word>::fill(Warp& warp, const Plan& plan, const warp::Output& out) {
  constexpr std::uint32_t kLaneBytes = 16;
  constexpr std::uint32_t kStepBytes = warp::kLanes * kLaneBytes;
  Word words[kLaneBytes / sizeof(Word)];
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kLaneBytes / sizeof(Word); ++i) words[i] = static_cast<Word>(plan.background);
  for (std::uint32_t first = out.begin / kStepBytes * kStepBytes; first < out.end; first += kStepBytes)
    warp.each([&](unsigned lane) { warp::store_bytes<kLaneBytes>(out, first + lane * kLaneBytes, words); });
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::put(Warp& warp, const Plan& plan, const warp::PerLane<Warp, Element>& elements,
                                        std::uint32_t count, const warp::Output& out, std::uint32_t& next_column) {
  warp::PerLane<Warp, std::uint32_t> column;
  warp.each([&](unsigned lane) { column[lane] = elements[lane].column; });
  const warp::PerLane<Warp, std::uint32_t> below = warp.shuffle_up(column, 1);
  warp::PerLane<Warp, bool> is_sound;
  warp.each([&](unsigned lane) {
    const std::uint32_t least = lane == 0 ? next_column : below[lane] + 1;
    is_sound[lane] = lane >= count || (column[lane] >= least && column[lane] < plan.num_columns);
    if (lane < count && is_sound[lane]) warp::store_word(out, column[lane], elements[lane].word);
  });
  next_column = warp.broadcast(column, count - 1) + 1;
  return warp::all(warp, is_sound);
}

template <class Word>
STILLBIT_WARP bool WarpCodec<Word>::read_element(const Plan& plan, const warp::ByteRun& row, const Upper& upper,
                                                 std::uint32_t rank, std::uint32_t position, Element& element) {
  const std::uint32_t at = upper.num_bits + rank * (plan.low_bits + plan.code_bits);
  std::uint32_t low = 0;
  Number code = 0;
  if constexpr (sizeof(Word) == 8) {
    low = row.bits(at, plan.low_bits);
    code = row.bits_64(at + plan.low_bits, plan.code_bits);
  } else {
    const std::uint64_t field = row.bits_64(at, plan.low_bits + plan.code_bits);
    low = static_cast<std::uint32_t>(field) & warp::low_mask(plan.low_bits);
    code = static_cast<Number>(field >> plan.low_bits);
  }
  // The zeros below say which bucket; the ones below belong to the elements before.
  element.column = plan.low_bits == 0 ? position : (position - rank) << plan.low_bits | low;
  return word_of(plan, code, element.word);
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::put_elements(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                 const Upper& upper, const warp::Output& out,
                                                 std::uint16_t* positions) {
  std::uint32_t num_before = 0;
  std::uint32_t next_column = 0;
  for (std::uint32_t first = 0; num_before < upper.num_elements; first += kStepPositions) {
    warp::PerLane<Warp, std::uint32_t> ones;
    warp::PerLane<Warp, std::uint32_t> rank;
    warp.each([&](unsigned lane) {
      const std::uint32_t at = first + lane * kLanePositions;
      ones[lane] = at < upper.num_bits ? row.bits(at, kLanePositions) & warp::low_mask(upper.num_bits - at) : 0;
      rank[lane] = warp::popcount(ones[lane]);
    });
    const std::uint32_t num_ones = warp::exclusive_sum(warp, rank);
    warp.sync();  // the lanes are done with the positions of the last step
    warp.each([&](unsigned lane) {
      std::uint16_t* position = positions + rank[lane];
      for (std::uint32_t left = ones[lane]; left != 0; left &= left - 1)
        *position++ = static_cast<std::uint16_t>(lane * kLanePositions + warp::lowest_one(left));
    });
    warp.sync();
    for (std::uint32_t done = 0; done < num_ones; done += warp::kLanes) {
      const std::uint32_t count = num_ones - done < warp::kLanes ? num_ones - done : warp::kLanes;
      warp::PerLane<Warp, Element> elements;
      warp::PerLane<Warp, bool> has_word;
      warp.each([&](unsigned lane) {
        elements[lane] = {0, 0};
        has_word[lane] = lane >= count || read_element(plan, row, upper, num_before + done + lane,
                                                       first + positions[done + lane], elements[lane]);
      });
      if (!warp::all(warp, has_word) || !put(warp, plan, elements, count, out, next_column)) return false;
    }
    num_before += num_ones;
  }
  return true;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::put_exceptions(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                   std::uint32_t at, const warp::Output& out) {
  const std::uint32_t num_bits = row.num_bytes * 8;
  const std::uint32_t exception_bits = 1 + plan.column_bits + kWordBits;
  std::uint32_t next_column = 0;
  for (;; at += warp::kLanes * exception_bits) {
    // Bits behind the list look like more of it, or not: what counts is that no zero is before.
    warp::PerLane<Warp, bool> is_in_row;
    warp::PerLane<Warp, bool> is_present;
    warp.each([&](unsigned lane) {
      const std::uint32_t flag_at = at + lane * exception_bits;
      is_in_row[lane] = flag_at < num_bits;
      is_present[lane] = is_in_row[lane] && row.bits(flag_at, 1) != 0;
    });
    const std::uint32_t present = warp.ballot(is_present);
    const bool is_full = present == ~std::uint32_t{0};
    const std::uint32_t count = is_full ? warp::kLanes : warp::lowest_one(~present);
    if (!is_full && (warp.ballot(is_in_row) >> count & 1) == 0) return false;
    if (count == 0) return true;
    warp::PerLane<Warp, Element> elements;
    warp.each([&](unsigned lane) {
      elements[lane] = {0, 0};
      if (lane >= count) return;
      const std::uint32_t column_at = at + lane * exception_bits + 1;
      elements[lane].column = row.bits(column_at, plan.column_bits);
      elements[lane].word = static_cast<Word>(warp::load_bits<Number>(row, column_at + plan.column_bits, kWordBits));
    });
    if (!put(warp, plan, elements, count, out, next_column)) return false;
    if (!is_full) return true;
  }
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte* scratch) {
  if (row.num_bytes < plan.minimum_bytes) return false;
  Upper upper;
  if (!find_upper(warp, plan, row, upper)) return false;
  const std::uint32_t exceptions_at = upper.num_bits + upper.num_elements * (plan.low_bits + plan.code_bits);
  if (exceptions_at >= row.num_bytes * 8) return false;
  fill(warp, plan, out);
  warp.sync();  // elements go over the background, exceptions over elements
  if (!put_elements(warp, plan, row, upper, out, reinterpret_cast<std::uint16_t*>(scratch))) return false;
  warp.sync();
  return put_exceptions(warp, plan, row, exceptions_at, out);
}

}  // namespace stillbit::sparse
