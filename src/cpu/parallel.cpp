#include "cpu/parallel.hpp"

#include "core/checked.hpp"
#include "cpu/helper_thread.hpp"
#include "cpu/interrupt.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

namespace stillbit::cpu {
namespace {

/// Threads that help the caller. One that has not begun when all is done is not waited for: where the processors have
/// other things to do it may take longer to begin than the work does, and it then finds nothing to do.
class Helpers {
 public:
  Helpers(unsigned count, const std::function<void(unsigned)>& work) : shared_(std::make_shared<Shared>(work)) {
    try {
      for (unsigned i = 1; i <= count; ++i) start_helper([shared = shared_, i] { shared->help(i); });
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
      // The system has no more threads to give: the ones there are do the work.
    } catch (...) {
      shared_->close();
      throw;
    }
  }
  ~Helpers() { shared_->close(); }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

 private:
  /// What a thread that begins late still finds.
  struct Shared {
    const std::function<void(unsigned)>& work;  ///< is there while this is not closed, or someone is at work
    std::mutex mutex;
    std::condition_variable is_idle;
    unsigned num_at_work = 0;
    bool is_closed = false;

    explicit Shared(const std::function<void(unsigned)>& given) : work(given) {}

    void help(unsigned worker) {
      {
        const std::lock_guard lock(mutex);
        if (is_closed) return;
        ++num_at_work;
      }
      work(worker);
      const std::lock_guard lock(mutex);
      if (--num_at_work == 0) is_idle.notify_one();
    }

    void close() {
      std::unique_lock lock(mutex);
      is_closed = true;
      is_idle.wait(lock, [&] { return num_at_work == 0; });
    }
  };

  std::shared_ptr<Shared> shared_;
};

}  // namespace

unsigned resolve_threads(unsigned requested) noexcept {
  if (requested > 0) return requested;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  return std::max(1U, std::thread::hardware_concurrency());
}

Result<void> parallel_for(std::uint64_t num_tasks, unsigned num_threads,
                          const std::function<Result<void>(std::uint64_t, unsigned)>& body) {
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  Result<void> outcome;
  std::uint64_t fault_task = 0;
  std::exception_ptr exception;

  const std::function<void(unsigned)> work = [&](unsigned worker) {
    while (!stopped.load(std::memory_order_relaxed)) {
      try {
        // A task that was taken is begun: others may wait for it.
        if (worker == 0) check_interrupt();
        const std::uint64_t task = next.fetch_add(1, std::memory_order_relaxed);
        if (task >= num_tasks) return;
        const Result<void> result = body(task, worker);
        if (result.ok()) continue;
        // Tasks start in order, so that all before this one run to their end: the first fault in order is kept.
        const std::lock_guard lock(mutex);
        if (outcome.ok() || task < fault_task) {
          outcome = result;
          fault_task = task;
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!exception) exception = std::current_exception();
      }
      stopped.store(true, std::memory_order_relaxed);
    }
  };

  {
    const auto helpers = static_cast<unsigned>(
        std::min<std::uint64_t>(std::max(1U, num_threads), std::max<std::uint64_t>(1, num_tasks)) - 1);
    const Helpers at_work(helpers, work);
    work(0);
  }
  if (exception) std::rethrow_exception(exception);
  return outcome;
}

}  // namespace stillbit::cpu
