#include "tiers/prefetcher.hpp"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

namespace stillbit::tiers {

std::uint64_t Prefetcher::add(std::span<const std::uint32_t> rows, std::uint64_t most) {
  const std::lock_guard lock(mutex_);
  if (is_stopped_ || queue_.size() >= most) return 0;
  const std::uint64_t count = std::min<std::uint64_t>(rows.size(), most - queue_.size());
  if (count == 0) return 0;
  try {
    if (!thread_) thread_ = std::make_unique<std::thread>([this] { run(); });
  } catch (const std::system_error&) {
    return 0;  // the system has no more threads to give: rows come when they are looked up
  }
  queue_.insert(queue_.end(), rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count));
  work_.notify_one();
  return count;
}

void Prefetcher::wait() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return (queue_.empty() && !is_busy_) || is_stopped_; });
}

void Prefetcher::stop() {
  std::unique_ptr<std::thread> thread;
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
    queue_.clear();
    thread = std::move(thread_);
    work_.notify_all();
    idle_.notify_all();
  }
  if (thread) thread->join();
}

void Prefetcher::run() {
  std::vector<std::uint32_t> rows;
  rows.reserve(rows_per_call_);
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return is_stopped_ || !queue_.empty(); });
    if (is_stopped_) return;
    const std::uint64_t count = std::min<std::uint64_t>(rows_per_call_, queue_.size());
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
    rows.assign(queue_.begin(), end);
    queue_.erase(queue_.begin(), end);
    is_busy_ = true;
    lock.unlock();
    pull_(rows);
    lock.lock();
    is_busy_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

void Prefetcher::after_fork_in_child() {
  mutex_.unlock();
  // The thread is not in this process: what stands for it can be neither joined nor destroyed.
  [[maybe_unused]] std::thread* const gone = thread_.release();
  ::new (&work_) std::condition_variable();
  ::new (&idle_) std::condition_variable();
  queue_.clear();
  is_busy_ = false;
}

}  // namespace stillbit::tiers
