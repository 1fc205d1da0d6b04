#pragma once

#include <pthread.h>
#include <sched.h>

#include <functional>

namespace stillbit::cpu {

/// A thread that begins at once, on another processor than the caller's: left to itself, Linux may start it on the
/// caller's, where it waits for the end of a time slice, 1 to 4 ms, while another processor has nothing to do. From its
/// beginning on it may run wherever the caller may.
class HelperThread {
 public:
  /// `work` must outlive this. Throws std::system_error where the system has no more threads to give.
  explicit HelperThread(const std::function<void()>& work);

  /// Waits for the end of the work.
  ~HelperThread();

  HelperThread(const HelperThread&) = delete;
  HelperThread& operator=(const HelperThread&) = delete;

 private:
  static void* run(void* self);

  const std::function<void()>& work_;
  cpu_set_t allowed_;       ///< the processors of the caller
  bool is_placed_ = false;  ///< on fewer than these
  pthread_t thread_;
};

}  // namespace stillbit::cpu
