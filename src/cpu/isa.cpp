#include "cpu/isa.hpp"

#include <cstdlib>

namespace stillbit::cpu {
namespace {

Isa choose() noexcept {
  const char* wanted = std::getenv("STILLBIT_ISA");
  if (wanted != nullptr && wanted == name(Isa::kPortable)) return Isa::kPortable;
  return supported(Isa::kAvx2) ? Isa::kAvx2 : Isa::kPortable;
}

}  // namespace

bool supported(Isa isa) noexcept {
  if (isa == Isa::kPortable) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
  return false;
#endif
}

Isa active_isa() noexcept {
  static const Isa isa = choose();
  return isa;
}

std::string_view name(Isa isa) noexcept {
  return isa == Isa::kAvx2 ? "avx2" : "portable";
}

}  // namespace stillbit::cpu
