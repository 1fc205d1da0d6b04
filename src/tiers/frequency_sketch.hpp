#pragma once

#include "tiers/hash.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace stillbit::tiers {

/// How often rows were looked up lately: a count-min sketch (Cormode and Muthukrishnan, 2005) of 4-bit counters that
/// are halved after every so many lookups, as TinyLFU has it (Einziger, Friedman and Manes, 2017). Of a row's four
/// counters only the smallest are raised. They lie in one cache line: a lookup touches no more.
///
/// Counting takes no lock. Two threads that count in the same word at once may count one lookup instead of two, which
/// an estimate can bear.
class FrequencySketch {
 public:
  static constexpr unsigned kMaxCount = 15;

  [[nodiscard]] static constexpr std::uint64_t bytes_for(std::uint64_t num_slots) noexcept {
    return blocks_for(num_slots) * sizeof(Block);
  }

  /// For a tier of so many slots: 16 counters for each, and halved after ten lookups for each.
  explicit FrequencySketch(std::uint64_t num_slots)
      : blocks_(blocks_for(num_slots)), period_(num_slots * kLookupsPerSlot) {}

  [[nodiscard]] std::uint64_t bytes() const noexcept { return blocks_.size() * sizeof(Block); }

  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&blocks_[scale(hash, blocks_.size())]); }

  void count(std::uint64_t hash) noexcept;
  [[nodiscard]] unsigned estimate(std::uint64_t hash) const noexcept;

  /// Notes how many lookups were counted; true when it is time to call `halve`.
  bool note(std::uint64_t num_lookups) noexcept {
    return num_noted_.fetch_add(num_lookups, std::memory_order_relaxed) + num_lookups >= period_;
  }

  /// Halves all counters if it is still time to. Precondition: no other thread does.
  void halve() noexcept;

 private:
  static constexpr std::uint64_t kLookupsPerSlot = 10;
  static constexpr std::uint64_t kSlotsPerBlock = 8;

  struct alignas(64) Block {
    std::array<std::atomic<std::uint64_t>, 8> words{};
  };

  static constexpr std::uint64_t blocks_for(std::uint64_t num_slots) noexcept { return num_slots / kSlotsPerBlock + 1; }

  std::vector<Block> blocks_;
  std::uint64_t period_;
  std::atomic<std::uint64_t> num_noted_{0};
};

}  // namespace stillbit::tiers
