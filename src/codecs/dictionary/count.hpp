#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stillbit::dictionary {

/// A word and how often it occurs.
struct Counted {
  std::uint64_t word = 0;
  std::uint64_t count = 0;
};

/// The collision entropy of words of which the distinct ones are counted, in bits: what a word takes is hardly less.
/// `num_words`: all of them together, 2 at least. Infinite when no word occurs twice.
[[nodiscard]] double collision_entropy(std::span<const Counted> words, std::uint64_t num_words);

/// Counts distinct words. Keeps its memory from one call to the next.
class WordCounter {
 public:
  /// The distinct words of `words`, in no order; nothing when there are more than `max_distinct`.
  /// The result holds until the next call.
  [[nodiscard]] std::optional<std::span<const Counted>> count(std::span<const std::uint64_t> words,
                                                              std::uint64_t max_distinct);

 private:
  std::vector<std::uint32_t> slots_;  ///< number of a word in counted_, plus one; 0 where there is none
  std::vector<Counted> counted_;
};

}  // namespace stillbit::dictionary
