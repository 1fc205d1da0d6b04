#pragma once

#include "codecs/sparse/layout.hpp"

#include <span>
#include <vector>

namespace stillbit::sparse {

/// How often each of many words occurs.
class WordCounts {
 public:
  struct Entry {
    std::uint64_t word;
    std::uint64_t count;
  };

  /// Precondition: fewer than 2^31 words.
  explicit WordCounts(std::span<const std::uint64_t> words);

  /// The words, the most frequent first; those that occur once are last, in no order.
  [[nodiscard]] const std::vector<Entry>& by_count() const noexcept { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// What the words that a coding is chosen for cost besides their codes.
struct CodingPrices {
  unsigned view_bytes = 1;
  std::uint64_t position_bits = 0;   ///< for each element
  std::uint64_t exception_bits = 0;  ///< for each exception
  double weight = 1;                 ///< words of the tensor that each of the words stands for
};

/// The fields of a plan that say how words are coded, with what they cost.
struct Coding {
  ValueMode value_mode = ValueMode::kDictionary;
  unsigned code_bits = 0;
  unsigned sign_bits = 0;
  unsigned zero_bits = 0;
  std::vector<std::uint64_t> values;
  double num_bits = 0;  ///< of all the words, and of the values in the plan (their share of it)
};

/// The dictionary that stores the words in the fewest bits. Precondition: there are words.
Coding cheapest_dictionary(const WordCounts& counts, const CodingPrices& prices);

/// The window that does; looks at `max_words` of the words. Precondition: there are words.
Coding cheapest_window(std::span<const std::uint64_t> words, std::size_t max_words, const CodingPrices& prices);

}  // namespace stillbit::sparse
