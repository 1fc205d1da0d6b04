#include "cpu/helper_thread.hpp"

#include <pthread.h>
#include <sched.h>

#include <memory>
#include <system_error>
#include <utility>

namespace stillbit::cpu {
namespace {

struct Helper {
  std::function<void()> work;
  cpu_set_t allowed;       ///< the processors of the caller
  bool is_placed = false;  ///< on fewer than these
};

void* run(void* argument) {
  const std::unique_ptr<Helper> helper(static_cast<Helper*>(argument));
  if (helper->is_placed) ::sched_setaffinity(0, sizeof(helper->allowed), &helper->allowed);
  helper->work();
  return nullptr;
}

/// What a detached thread is made with.
class Attributes {
 public:
  Attributes() {
    if (const int error = ::pthread_attr_init(&attributes_); error != 0)
      throw std::system_error(error, std::generic_category(), "attributes of a thread");
    ::pthread_attr_setdetachstate(&attributes_, PTHREAD_CREATE_DETACHED);
  }
  ~Attributes() { ::pthread_attr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  bool set_processors(const cpu_set_t& processors) {
    return ::pthread_attr_setaffinity_np(&attributes_, sizeof(processors), &processors) == 0;
  }
  [[nodiscard]] int start(Helper* helper) const {
    pthread_t thread;
    return ::pthread_create(&thread, &attributes_, run, helper);
  }

 private:
  pthread_attr_t attributes_;
};

/// The processors that this thread may use, but the one that it is on. False where that is not known, or none is left.
bool other_processors(cpu_set_t& allowed, cpu_set_t& others) {
  const int own = ::sched_getcpu();
  if (own < 0 || own >= CPU_SETSIZE || ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return false;
  others = allowed;
  CPU_CLR(static_cast<unsigned>(own), &others);
  return CPU_COUNT(&others) > 0;
}

}  // namespace

void start_helper(std::function<void()> work) {
  auto helper = std::make_unique<Helper>();
  helper->work = std::move(work);
  Attributes placed;
  cpu_set_t others;
  helper->is_placed = other_processors(helper->allowed, others) && placed.set_processors(others);
  int error = placed.start(helper.get());
  if (error != 0 && helper->is_placed) {  // a processor may have been taken away meanwhile
    helper->is_placed = false;
    error = Attributes().start(helper.get());
  }
  if (error != 0) throw std::system_error(error, std::generic_category(), "a thread");
  [[maybe_unused]] const Helper* const given = helper.release();  // to the thread
}

}  // namespace stillbit::cpu
