#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace stillbit::tiers {

/// A queue of rows, and the thread that pulls them. The thread starts with the first rows and ends with the object.
class Prefetcher {
 public:
  /// `pull` is called on the thread with rows in the order in which they came. What goes wrong there is for whoever
  /// looks these rows up to find: it must not throw.
  using Pull = std::function<void(std::span<const std::uint32_t> rows)>;
  Prefetcher(Pull pull, std::uint64_t rows_per_call) : pull_(std::move(pull)), rows_per_call_(rows_per_call) {}
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;
  ~Prefetcher() { stop(); }

  /// Queues rows, from the first on, as long as there are fewer than `most` in the queue. Returns how many it took.
  std::uint64_t add(std::span<const std::uint32_t> rows, std::uint64_t most);

  /// Until the queue is empty and the thread idle.
  void wait();

  /// Gives up what is queued, and ends the thread once it has done what it is at. What is added later is not taken.
  void stop();

  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child();

 private:
  void run();

  Pull pull_;
  std::uint64_t rows_per_call_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<std::uint32_t> queue_;
  bool is_busy_ = false;
  bool is_stopped_ = false;
  std::unique_ptr<std::thread> thread_;
};

}  // namespace stillbit::tiers
