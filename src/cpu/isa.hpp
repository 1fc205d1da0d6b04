#pragma once

#include <string_view>

namespace stillbit::cpu {

/// Instruction sets that kernels are compiled for, from the least demanding on.
enum class Isa { kPortable, kAvx2 };

/// The best one of this machine (kAvx2 stands for AVX2 with BMI2, as on every x86-64-v3 processor), or the one that
/// the environment variable STILLBIT_ISA ("portable", "avx2") asks for, if the machine has it. Decided once.
[[nodiscard]] Isa active_isa() noexcept;

/// Whether this machine runs code compiled for `isa`.
[[nodiscard]] bool supported(Isa isa) noexcept;

[[nodiscard]] std::string_view name(Isa isa) noexcept;

}  // namespace stillbit::cpu
