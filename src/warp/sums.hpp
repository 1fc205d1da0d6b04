#pragma once

#include "warp/floats.hpp"
#include "warp/output.hpp"

#include <cstddef>
#include <cstdint>

// How a warp adds expanded rows. A lane has groups of neighbouring columns, of which it alone reads and writes the
// sums: these need no sync between rows.

namespace stillbit::warp {

/// What becomes of the rows of a bag.
enum class Pooling : std::uint8_t { kSum, kMean, kMax };

/// Columns that a lane takes together.
inline constexpr std::uint32_t kSumColumns = 4;

/// How rows are added (pooling/kernels.hpp): where padding is looked for, two roundings are others.
struct Addition {
  Pooling pooling = Pooling::kSum;
  bool has_weights = false;
  bool has_padding = false;
};

/// kSumColumns words, or sums.
template <class T>
struct alignas(kSumColumns * sizeof(T) < 16 ? kSumColumns * sizeof(T) : 16) Columns {
  T of[kSumColumns];
};

/// The word of element `position`.
STILLBIT_WARP std::uint64_t word_at(const std::byte* elements, Element element, std::uint64_t position) {
  switch (element) {
    case Element::kF64:
      return reinterpret_cast<const std::uint64_t*>(elements)[position];
    case Element::kF32:
      return reinterpret_cast<const std::uint32_t*>(elements)[position];
    default:
      return reinterpret_cast<const std::uint16_t*>(elements)[position];
  }
}

/// Calls `body` with the lane's groups of columns: `body(number of the first)`.
template <class Warp, class Body>
STILLBIT_WARP void each_group(Warp& warp, std::uint32_t num_columns, const Body& body) {
  warp.each([&](unsigned lane) {
    STILLBIT_NO_UNROLL  // rows of that many columns take longer to expand
        for (std::uint32_t column = lane * kSumColumns; column < num_columns; column += kLanes * kSumColumns)
            body(column);
  });
}

/// Columns of a row, of any alignment that `column` has.
template <class T>
STILLBIT_WARP Columns<T>& columns_at(std::byte* memory, std::uint32_t column) {
  return *reinterpret_cast<Columns<T>*>(memory + column * sizeof(T));
}

/// Adds a row to sums, each one rounded operation.
template <class Floats, class Warp>
STILLBIT_WARP void add_to_sums(Warp& warp, Addition how, std::byte* row, std::uint32_t num_columns,
                               typename Floats::Word weight_word, bool is_first, std::byte* sums) {
  using Sum = typename Floats::Sum;
  const Sum weight = Floats::widen(weight_word);
  each_group(warp, num_columns, [&](std::uint32_t column) {
    const auto words = columns_at<typename Floats::Word>(row, column);
    Columns<Sum> sum{};
    if (!is_first) sum = columns_at<Sum>(sums, column);
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kSumColumns; ++i) {
      const Sum element = Floats::widen(words.of[i]);
      if (!how.has_weights) {
        sum.of[i] += element;
      } else if (how.has_padding || !Floats::kIsFused) {
        sum.of[i] = multiply_then_add(element, weight, sum.of[i]);
      } else if constexpr (Floats::kIsFused) {
        sum.of[i] = multiply_add(element, weight, sum.of[i]);
      }
    }
    columns_at<Sum>(sums, column) = sum;
  });
}

/// Keeps of each column the first element that no later one exceeds. Words, so that a NaN keeps its bits: one that
/// comes first stays, one that comes later is not above anything.
template <class Floats, class Warp>
STILLBIT_WARP void add_to_maxima(Warp& warp, std::byte* row, std::uint32_t num_columns, bool is_first,
                                 std::byte* maxima) {
  using Word = typename Floats::Word;
  using Integer = typename Floats::Integer;
  constexpr auto kLowest = static_cast<Integer>(std::uint64_t{1} << (8 * sizeof(Integer) - 1));
  constexpr auto kHighest = static_cast<Integer>(~kLowest);
  each_group(warp, num_columns, [&](std::uint32_t column) {
    const auto words = columns_at<Word>(row, column);
    Columns<Word> most = words;
    if (!is_first) most = columns_at<Word>(maxima, column);
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kSumColumns; ++i) {
      if (ordered<Floats>(words.of[i], kLowest) > ordered<Floats>(most.of[i], kHighest)) most.of[i] = words.of[i];
    }
    columns_at<Word>(maxima, column) = most;
  });
}

/// Adds an expanded row of `row_bytes` bytes, the first of its bag or another one. Both memories are aligned to 16.
template <class Warp>
STILLBIT_WARP void add_row(Warp& warp, Element element, Addition how, std::byte* row, std::uint32_t row_bytes,
                           std::uint64_t weight, bool is_first, std::byte* sums) {
  with_floats(element, [&]<class Floats>(Floats) {
    using Word = typename Floats::Word;
    const auto num_columns = static_cast<std::uint32_t>(row_bytes / sizeof(Word));
    if (how.pooling == Pooling::kMax) {
      add_to_maxima<Floats>(warp, row, num_columns, is_first, sums);
    } else {
      add_to_sums<Floats>(warp, how, row, num_columns, static_cast<Word>(weight), is_first, sums);
    }
  });
}

/// The word that a sum becomes.
template <class Floats>
STILLBIT_WARP typename Floats::Word word_of_sum(Addition how, typename Floats::Sum sum, std::uint64_t num_rows) {
  const typename Floats::Word word = Floats::narrow(sum, !how.has_padding);
  if (how.pooling == Pooling::kSum) return word;
  return Floats::narrow(divide(Floats::widen(word), Floats::rounded(num_rows)), false);
}

/// Writes the result of a bag: zeros if it has no rows.
template <class Warp>
STILLBIT_WARP void write_sums(Warp& warp, Element element, Addition how, std::byte* sums, std::uint64_t num_rows,
                              const Output& out) {
  with_floats(element, [&]<class Floats>(Floats) {
    using Word = typename Floats::Word;
    constexpr std::uint32_t kBytes = kSumColumns * sizeof(Word);
    constexpr std::uint32_t kVectorBytes = kBytes < 16 ? kBytes : 16;
    each_group(warp, static_cast<std::uint32_t>(out.end / sizeof(Word)), [&](std::uint32_t column) {
      Columns<Word> words{};
      if (num_rows != 0 && how.pooling == Pooling::kMax) {
        words = columns_at<Word>(sums, column);
      } else if (num_rows != 0) {
        const auto group = columns_at<typename Floats::Sum>(sums, column);
        STILLBIT_UNROLL
        for (unsigned i = 0; i < kSumColumns; ++i) words.of[i] = word_of_sum<Floats>(how, group.of[i], num_rows);
      }
      STILLBIT_UNROLL
      for (std::uint32_t i = 0; i < kBytes; i += kVectorBytes) {
        store_bytes<kVectorBytes>(out, column * static_cast<std::uint32_t>(sizeof(Word)) + i,
                                  reinterpret_cast<const std::byte*>(&words) + i);
      }
    });
  });
}

}  // namespace stillbit::warp
