#include "tiers/frequency_sketch.hpp"

#include <algorithm>

namespace stillbit::tiers {
namespace {

/// A row's counter in each of its four words: five bits of the hash say which of two words, and which counter of it.
struct Counter {
  std::uint32_t word;
  std::uint32_t shift;

  Counter(std::uint64_t hash, std::uint32_t i) noexcept {
    const auto bits = static_cast<std::uint32_t>(hash >> (5 * i));
    word = 2 * i + (bits & 1);
    shift = ((bits >> 1) & 15) * 4;
  }
};

unsigned count_of(std::uint64_t word, const Counter& counter) noexcept {
  return static_cast<unsigned>(word >> counter.shift) & 15;
}

}  // namespace

void FrequencySketch::count(std::uint64_t hash) noexcept {
  Block& block = blocks_[scale(hash, blocks_.size())];
  std::array<std::uint64_t, 4> words;
  unsigned least = kMaxCount;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const Counter counter(hash, i);
    words[i] = block.words[counter.word].load(std::memory_order_relaxed);
    least = std::min(least, count_of(words[i], counter));
  }
  if (least == kMaxCount) return;
  // Without a branch for each: which counters are raised is hard to foretell, and a word that stays is at hand.
  for (std::uint32_t i = 0; i < 4; ++i) {
    const Counter counter(hash, i);
    const std::uint64_t raised = count_of(words[i], counter) == least ? 1 : 0;
    block.words[counter.word].store(words[i] + (raised << counter.shift), std::memory_order_relaxed);
  }
}

unsigned FrequencySketch::estimate(std::uint64_t hash) const noexcept {
  const Block& block = blocks_[scale(hash, blocks_.size())];
  unsigned least = kMaxCount;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const Counter counter(hash, i);
    least = std::min(least, count_of(block.words[counter.word].load(std::memory_order_relaxed), counter));
  }
  return least;
}

void FrequencySketch::halve() noexcept {
  constexpr std::uint64_t kLowThree = 0x7777777777777777U;
  const std::uint64_t noted = num_noted_.load(std::memory_order_relaxed);
  if (noted < period_) return;
  for (Block& block : blocks_) {
    for (auto& word : block.words)
      word.store((word.load(std::memory_order_relaxed) >> 1) & kLowThree, std::memory_order_relaxed);
  }
  // Half of what was counted is still there.
  num_noted_.fetch_sub(noted - noted / 2, std::memory_order_relaxed);
}

}  // namespace stillbit::tiers
