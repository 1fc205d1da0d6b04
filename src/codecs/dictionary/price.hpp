#pragma once

#include "codecs/dictionary/count.hpp"
#include "codecs/dictionary/layout.hpp"

#include <cstdint>
#include <span>

namespace stillbit::dictionary {

/// What pricing has to know of the tensor besides the words of a column.
struct Pricing {
  unsigned view_bytes = 1;
  double scale = 1;         ///< columns of the tensor are so many times longer than what was counted; 1: counted whole
  double row_bits = 0;      ///< what it costs to store a row raw
  unsigned free_shift = 0;  ///< low bits that are zero in all words, whether counted or not
};

/// A kind and what it takes for the whole tensor: the column's bits in the rows, and its own in the plan.
struct PricedKind {
  Kind kind;
  double num_bits = 0;
};

/// All bits of each word.
PricedKind raw_kind(const Pricing& pricing, double num_words);

/// The cheapest kind for words of which all distinct ones are counted. Precondition: there is one.
PricedKind cheapest_kind(const Pricing& pricing, std::span<const Counted> words);

/// The cheapest window for words that were drawn from those of a column.
PricedKind cheapest_window(const Pricing& pricing, std::span<const Counted> words);

}  // namespace stillbit::dictionary
