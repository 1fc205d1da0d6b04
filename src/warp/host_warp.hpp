#pragma once

#include "warp/warp.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <numeric>
#include <vector>

namespace stillbit::warp {

/// A warp that one thread of a CPU plays, lane after lane: for tests. It takes liberties as a GPU does, so that code
/// which relies on more than it may give another result: lanes run now from the first to the last, now the other way
/// round, and asynchronous copies arrive no sooner than they are waited for.
class HostWarp {
 public:
  template <class T>
  struct PerLane {
    std::array<T, kLanes> values{};
    T& operator[](unsigned lane) { return values[lane]; }
    const T& operator[](unsigned lane) const { return values[lane]; }
  };

  template <class Body>
  void each(const Body& body) {
    is_reversed_ = !is_reversed_;
    for (unsigned i = 0; i < kLanes; ++i) body(is_reversed_ ? kLanes - 1 - i : i);
  }

  [[nodiscard]] std::uint32_t ballot(const PerLane<bool>& flags) const {
    std::uint32_t bits = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) bits |= static_cast<std::uint32_t>(flags[lane]) << lane;
    return bits;
  }

  template <class T>
  [[nodiscard]] PerLane<T> shuffle_up(const PerLane<T>& value, unsigned distance) const {
    PerLane<T> moved = value;
    for (unsigned lane = distance; lane < kLanes; ++lane) moved[lane] = value[lane - distance];
    return moved;
  }

  template <class T>
  [[nodiscard]] T broadcast(const PerLane<T>& value, unsigned lane) const {
    return value[lane];
  }

  [[nodiscard]] PerLane<std::uint32_t> inclusive_sum(PerLane<std::uint32_t> value) const {
    std::partial_sum(value.values.begin(), value.values.end(), value.values.begin());
    return value;
  }

  [[nodiscard]] std::uint32_t sum(const PerLane<std::uint32_t>& value) const {
    return std::accumulate(value.values.begin(), value.values.end(), std::uint32_t{0});
  }

  void sync() const {}

  void copy_async(std::byte* dst, const std::byte* src) {
    const auto address = reinterpret_cast<std::uintptr_t>(dst) | reinterpret_cast<std::uintptr_t>(src);
    if (address % 16 != 0) std::abort();  // a GPU would fault
    open_.push_back({dst, src});
  }
  void commit_copies() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  void wait_copies(unsigned num_pending) {
    for (; groups_.size() > num_pending; groups_.pop_front()) {
      for (const Copy& copy : groups_.front()) std::memcpy(copy.dst, copy.src, 16);
    }
  }

  template <class T>
  T fetch_add(T* sum, T value) const {
    return __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
  }
  std::uint32_t fetch_or(std::uint32_t* bits, std::uint32_t value) const {
    return __atomic_fetch_or(bits, value, __ATOMIC_RELAXED);
  }
  std::uint32_t fetch_max(std::uint32_t* word, std::uint32_t value) const {
    std::uint32_t before = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (before < value &&
           !__atomic_compare_exchange_n(word, &before, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return before;
  }
  bool claim(std::uint32_t* word, std::uint32_t value) const {
    std::uint32_t expected = 0;
    return __atomic_compare_exchange_n(word, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }

 private:
  struct Copy {
    std::byte* dst;
    const std::byte* src;
  };
  bool is_reversed_ = false;
  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

}  // namespace stillbit::warp
