#pragma once

#include <atomic>
#include <cstdint>

namespace stillbit::tiers {

/// What tiers did, counted by all threads. A call adds what it did in one go.
struct TierCounters {
  std::atomic<std::uint64_t> num_lookups{0};
  std::atomic<std::uint64_t> bytes_read{0};
  std::atomic<std::uint64_t> num_filled{0};
  std::atomic<std::uint64_t> num_evicted{0};

  void reset() noexcept {
    for (auto* counter : {&num_lookups, &bytes_read, &num_filled, &num_evicted}) counter->store(0);
  }
};

struct Counters {
  TierCounters fast;
  TierCounters warm;
  TierCounters cold;
  std::atomic<std::uint64_t> num_prefetched{0};
  std::atomic<std::uint64_t> num_prefetch_hits{0};
  std::atomic<std::uint64_t> num_updated{0};

  void reset() noexcept {
    for (TierCounters* tier : {&fast, &warm, &cold}) tier->reset();
    for (auto* counter : {&num_prefetched, &num_prefetch_hits, &num_updated}) counter->store(0);
  }
};

inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t count) noexcept {
  if (count > 0) counter.fetch_add(count, std::memory_order_relaxed);
}

}  // namespace stillbit::tiers
