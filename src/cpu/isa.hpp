#pragma once

#include <string_view>

namespace stillbit::cpu {

/// Instruction sets that kernels are compiled for, from the least demanding on.
enum class Isa { kPortable, kAvx2, kAvx512 };

inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

/// The best one of this machine, or the one that the environment variable STILLBIT_ISA ("portable", "avx2", "avx512")
/// asks for, if the machine has it. Decided once. kAvx2 stands for AVX2 with BMI2, FMA and F16C, as on every x86-64-v3
/// processor;
/// kAvx512 for AVX-512 with byte permutations (F, BW, DQ, VL, VBMI, VBMI2, VPOPCNTDQ), as on Ice
/// Lake, Zen 4 and later.
[[nodiscard]] Isa active_isa() noexcept;

/// Whether this machine runs code compiled for `isa`.
[[nodiscard]] bool supported(Isa isa) noexcept;

[[nodiscard]] std::string_view name(Isa isa) noexcept;

}  // namespace stillbit::cpu
