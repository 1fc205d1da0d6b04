#pragma once

#include "tiers/hash.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

namespace stillbit::tiers {

/// Says which pieces of lookups are counted, and may move rows. To count a lookup and to look for a row that gives way
/// take longer than to expand a row, and serve nothing once the right rows are there: then one piece in a few is
/// enough, until the part of lookups that find their row is not what it used to be.
///
/// All threads share one, without a lock: what two of them note at once may be counted for one, which a sum can bear.
class Pace {
 public:
  explicit Pace(std::uint64_t num_slots)
      : num_learning_(num_slots * kLearningPerSlot),
        window_lookups_(std::max(kShortestWindow, num_slots / kSlotsPerWindowLookup)) {}

  /// Asked once for each piece. Which ones are counted is drawn, or lookups that come in turns could be left out.
  [[nodiscard]] bool is_counted() noexcept {
    if (num_since_.load(std::memory_order_relaxed) < num_learning_) return true;
    return hash_row(num_pieces_.fetch_add(1, std::memory_order_relaxed)) % kInterval == 0;
  }

  /// Notes lookups of a piece, and how many of them found their row.
  void note(std::uint64_t num_lookups, std::uint64_t num_hits) noexcept {
    num_since_.fetch_add(num_lookups, std::memory_order_relaxed);
    const std::uint64_t added = num_hits << 32 | num_lookups;
    const std::uint64_t sum = window_.fetch_add(added, std::memory_order_relaxed) + added;
    if ((sum & kLow) < window_lookups_) return;
    window_.store(0, std::memory_order_relaxed);
    compare(static_cast<double>(sum >> 32), static_cast<double>(sum & kLow));
  }

 private:
  /// One piece in so many is counted where nothing changes.
  static constexpr std::uint64_t kInterval = 8;
  /// Lookups for each slot that are all counted, from the first or from a change on: the counters are halved twice.
  static constexpr std::uint64_t kLearningPerSlot = 20;
  /// Lookups of which the hits are compared with those before: many enough that chance alone seldom lets a tier of
  /// many slots learn anew.
  static constexpr std::uint64_t kShortestWindow = 512;
  static constexpr std::uint64_t kSlotsPerWindowLookup = 4;
  /// In standard deviations of a window's hits. One window in 2,000 is further off by chance.
  static constexpr double kTolerance = 3.5;
  static constexpr std::uint64_t kLow = 0xFFFFFFFFU;

  void compare(double num_hits, double num_lookups) noexcept {
    const double rate = num_hits / num_lookups;
    const double usual = usual_.load(std::memory_order_relaxed);
    const double variance = std::max(usual * (1 - usual), 1 / num_lookups) / num_lookups;
    const bool is_usual = std::abs(rate - usual) <= kTolerance * std::sqrt(variance);
    usual_.store(is_usual ? usual + (rate - usual) / 16 : rate, std::memory_order_relaxed);
    if (!is_usual) num_since_.store(0, std::memory_order_relaxed);
  }

  std::uint64_t num_learning_;
  std::uint64_t window_lookups_;
  std::atomic<std::uint64_t> num_since_{0};  ///< lookups since the last change
  std::atomic<std::uint64_t> num_pieces_{0};
  std::atomic<std::uint64_t> window_{0};  ///< hits in the upper half, lookups in the lower
  std::atomic<double> usual_{0};          ///< the part of lookups that find their row
};

}  // namespace stillbit::tiers
