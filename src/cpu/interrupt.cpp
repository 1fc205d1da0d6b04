#include "cpu/interrupt.hpp"

#include <chrono>
#include <utility>

namespace stillbit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kInterval{50};

thread_local InterruptScope::Check current_check = nullptr;
thread_local Clock::rep next_check = 0;

}  // namespace

InterruptScope::InterruptScope(Check check) noexcept : outer_(std::exchange(current_check, check)) {}

InterruptScope::~InterruptScope() {
  current_check = outer_;
}

void cpu::check_interrupt() {
  if (current_check == nullptr) return;
  const Clock::duration now = Clock::now().time_since_epoch();
  if (now.count() < next_check) return;
  next_check = (now + kInterval).count();
  current_check();
}

}  // namespace stillbit
