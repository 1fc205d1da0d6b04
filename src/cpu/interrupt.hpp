#pragma once

#include <stillbit/interrupt.hpp>

namespace stillbit::cpu {

/// Asks the InterruptScope of this thread, if there is one and it was not asked just now. Throws what it throws.
void check_interrupt();

}  // namespace stillbit::cpu
