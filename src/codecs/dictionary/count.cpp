#include "codecs/dictionary/count.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stillbit::dictionary {

double collision_entropy(std::span<const Counted> words, std::uint64_t num_words) {
  double num_pairs = 0;
  for (const Counted& counted : words)
    num_pairs += static_cast<double>(counted.count) * static_cast<double>(counted.count - 1);
  return std::log2(static_cast<double>(num_words) * static_cast<double>(num_words - 1) / num_pairs);
}

std::optional<std::span<const Counted>> WordCounter::count(std::span<const std::uint64_t> words,
                                                           std::uint64_t max_distinct) {
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;
  const std::uint64_t most = std::min<std::uint64_t>(words.size(), max_distinct);
  const std::uint64_t capacity = std::bit_ceil(2 * most + 2);
  const int shift = std::countl_zero(capacity - 1);
  slots_.assign(capacity, 0);
  counted_.clear();
  for (const std::uint64_t word : words) {
    std::uint64_t at = (word * kFactor) >> shift;
    while (slots_[at] != 0 && counted_[slots_[at] - 1].word != word) at = (at + 1) & (capacity - 1);
    if (slots_[at] == 0) {
      if (counted_.size() == most) return std::nullopt;
      counted_.push_back({word, 0});
      slots_[at] = static_cast<std::uint32_t>(counted_.size());
    }
    ++counted_[slots_[at] - 1].count;
  }
  return counted_;
}

}  // namespace stillbit::dictionary
