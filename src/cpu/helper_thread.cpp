#include "cpu/helper_thread.hpp"

#include <system_error>

namespace stillbit::cpu {
namespace {

/// What a thread is made with.
class Attributes {
 public:
  Attributes() { is_usable_ = ::pthread_attr_init(&attributes_) == 0; }
  ~Attributes() {
    if (is_usable_) ::pthread_attr_destroy(&attributes_);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  bool set_processors(const cpu_set_t& processors) {
    return is_usable_ && ::pthread_attr_setaffinity_np(&attributes_, sizeof(processors), &processors) == 0;
  }
  [[nodiscard]] const pthread_attr_t* get() const { return is_usable_ ? &attributes_ : nullptr; }

 private:
  pthread_attr_t attributes_;
  bool is_usable_;
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

HelperThread::HelperThread(const std::function<void()>& work) : work_(work) {
  Attributes attributes;
  cpu_set_t others;
  is_placed_ = other_processors(allowed_, others) && attributes.set_processors(others);
  if (is_placed_ && ::pthread_create(&thread_, attributes.get(), run, this) == 0) return;
  // A processor may have been taken away meanwhile.
  is_placed_ = false;
  if (const int error = ::pthread_create(&thread_, nullptr, run, this); error != 0)
    throw std::system_error(error, std::generic_category(), "a thread");
}

HelperThread::~HelperThread() {
  ::pthread_join(thread_, nullptr);
}

void* HelperThread::run(void* self) {
  const auto& helper = *static_cast<const HelperThread*>(self);
  if (helper.is_placed_) ::sched_setaffinity(0, sizeof(helper.allowed_), &helper.allowed_);
  helper.work_();
  return nullptr;
}

}  // namespace stillbit::cpu
