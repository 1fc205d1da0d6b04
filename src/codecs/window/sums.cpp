#include "codecs/window/sums.hpp"

namespace stillbit::window {

#if defined(__x86_64__)
namespace avx512 {
SumSlots sum_slots(const Plan& plan, DType dtype, std::uint64_t slot_bytes) noexcept;
}
#endif

SumSlots sum_slots([[maybe_unused]] const Plan& plan, [[maybe_unused]] DType dtype,
                   [[maybe_unused]] std::uint64_t slot_bytes, [[maybe_unused]] cpu::Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == cpu::Isa::kAvx512) return avx512::sum_slots(plan, dtype, slot_bytes);
#endif
  return nullptr;
}

}  // namespace stillbit::window
