#include "cpu/isa.hpp"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace stillbit::cpu {
namespace {

Isa choose() noexcept {
  Isa best = Isa::kPortable;
  const char* wanted = std::getenv("STILLBIT_ISA");
  for (const Isa isa : kAllIsas) {
    if (!supported(isa)) continue;
    best = isa;
    if (wanted != nullptr && wanted == name(isa)) break;
  }
  return best;
}

#if defined(__x86_64__)
/// Conversions of 16-bit floats, of which clang 14 cannot ask by name.
bool has_f16c() noexcept {
  constexpr unsigned kF16C = 1U << 29;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kF16C) != 0;
}
#endif

}  // namespace

bool supported(Isa isa) noexcept {
  if (isa == Isa::kPortable) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::kAvx2) return has_avx2;
  return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vpopcntdq");
#else
  return false;
#endif
}

Isa active_isa() noexcept {
  static const Isa isa = choose();
  return isa;
}

std::string_view name(Isa isa) noexcept {
  constexpr std::string_view kNames[] = {"portable", "avx2", "avx512"};
  return kNames[static_cast<int>(isa)];
}

}  // namespace stillbit::cpu
