#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace stillbit::tiers {

/// A lock that readers share and a writer has for itself, phase-fair (Brandenburg and Anderson, "Reader-Writer
/// Synchronization for Shared-Memory Multiprocessor Real-Time Systems", 2009): readers that come while a writer waits
/// let it pass, and those that waited for it all go before the next one. Neither can starve the other, as readers may
/// starve a writer of std::shared_mutex. It can be carried over a fork, too, which a pthread_rwlock_t cannot.
class FairMutex {
 public:
  void lock_shared() {
    std::unique_lock lock(mutex_);
    if (!is_writing_ && num_waiting_writers_ == 0) {
      ++num_readers_;
      return;
    }
    ++num_waiting_readers_;
    const std::uint64_t phase = phase_;
    readers_.wait(lock, [&] { return phase_ != phase; });
  }

  void unlock_shared() {
    const std::lock_guard lock(mutex_);
    if (--num_readers_ == 0 && num_waiting_writers_ > 0) writers_.notify_one();
  }

  void lock() {
    std::unique_lock lock(mutex_);
    ++num_waiting_writers_;
    writers_.wait(lock, [&] { return !is_writing_ && num_readers_ == 0; });
    --num_waiting_writers_;
    is_writing_ = true;
  }

  void unlock() {
    const std::lock_guard lock(mutex_);
    is_writing_ = false;
    if (num_waiting_readers_ > 0) {
      num_readers_ = num_waiting_readers_;
      num_waiting_readers_ = 0;
      ++phase_;
      readers_.notify_all();
    } else if (num_waiting_writers_ > 0) {
      writers_.notify_one();
    }
  }

  /// Before a fork: nobody reads, writes or is about to, until one of the others below was called.
  void before_fork() {
    lock();
    mutex_.lock();
  }
  void after_fork_in_parent() {
    mutex_.unlock();
    unlock();
  }
  /// Only this thread is left, and with it none of those that waited.
  void after_fork_in_child();

 private:
  std::mutex mutex_;
  std::condition_variable readers_;
  std::condition_variable writers_;
  std::uint64_t num_readers_ = 0;  ///< that have the lock
  std::uint64_t num_waiting_readers_ = 0;
  std::uint64_t num_waiting_writers_ = 0;
  std::uint64_t phase_ = 0;  ///< counts how often waiting readers were let in
  bool is_writing_ = false;
};

}  // namespace stillbit::tiers
