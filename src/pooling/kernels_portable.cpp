#include "pooling/kernels.hpp"

#include "core/bytes.hpp"

#include <limits>
#include <type_traits>

namespace stillbit::pooling {
namespace portable {
namespace {

constexpr std::uint64_t kVectorBytes = 16;
constexpr unsigned kBlockVectors = 8;  // of 16 registers

#include "pooling/floats.inl"

inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return Floats{__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]), __builtin_fmaf(a[2], b[2], c[2]),
                __builtin_fmaf(a[3], b[3], c[3])};
}

/// The bits of an f16, moved to where an f32 has them, are its value times 2^-112; a product with a power of two is
/// exact.
inline Floats widen_f16(Shorts words, unsigned half) {
  const Bits wide =
      half == 0 ? Bits{words[0], words[1], words[2], words[3]} : Bits{words[4], words[5], words[6], words[7]};
  const Bits magnitude = (wide & 0x7FFFU) << 13;
  const Floats value = reinterpret_cast<Floats>(magnitude) * 0x1p112F;
  constexpr std::uint32_t kInfinity = 0x7C00U << 13;
  constexpr std::uint32_t kExponents = 0x7F800000;
  const Bits bits = magnitude >= kInfinity ? magnitude | kExponents : reinterpret_cast<Bits>(value);
  return reinterpret_cast<Floats>(bits | (wide & 0x8000U) << 16);
}

/// The f16 words of one vector, a pair of bytes of 32 bits each.
inline Bits half_bits(Floats values) {
  const Bits bits = reinterpret_cast<Bits>(values);
  const Bits magnitude = bits & 0x7FFFFFFFU;
  // From 2^-14 on: the exponent is moved, and the last 13 bits are rounded off; a carry goes where it belongs.
  constexpr std::uint32_t kSmallestNormal = 0x38800000;
  const Bits normal = (magnitude - (112U << 23) + 0xFFFU + (magnitude >> 13 & 1U)) >> 13;
  // Below: the sum with 0.5 has its last bit where an f16 has it, and is rounded to that by the addition.
  const Bits denormal = reinterpret_cast<Bits>(reinterpret_cast<Floats>(magnitude) + 0.5F) - 0x3F000000U;
  constexpr std::uint32_t kOverflow = 0x47800000;  // 2^16; what rounds to that has become infinity by itself
  Bits half = magnitude < kSmallestNormal ? denormal : normal;
  half = magnitude >= kOverflow ? Bits{} + 0x7C00U : half;
  half = magnitude > 0x7F800000U ? Bits{} + 0x7E00U : half;
  return half | (bits >> 16 & 0x8000U);
}

inline Shorts narrow_f16(Floats lower, Floats upper) {
  const Bits low = half_bits(lower);
  const Bits high = half_bits(upper);
  Shorts words{};
  for (unsigned i = 0; i < 4; ++i) {
    words[i] = static_cast<std::uint16_t>(low[i]);
    words[i + 4] = static_cast<std::uint16_t>(high[i]);
  }
  return words;
}

#include "pooling/finish.inl"

#include "pooling/kernels.inl"

}  // namespace

const Kernels kKernels[4] = {kKernelsFor<F16>, kKernelsFor<BF16>, kKernelsFor<F32>, kKernelsFor<F64>};

}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels[4];
}
namespace avx512 {
extern const Kernels kKernels[4];
}
#endif

const Kernels* kernels(DType dtype, [[maybe_unused]] cpu::Isa isa) noexcept {
  const unsigned i = dtype == DType::kF16 ? 0 : dtype == DType::kBF16 ? 1 : dtype == DType::kF32 ? 2 : 3;
  if (i == 3 && dtype != DType::kF64) return nullptr;
#if defined(__x86_64__)
  if (isa == cpu::Isa::kAvx512) return &avx512::kKernels[i];
  if (isa == cpu::Isa::kAvx2) return &avx2::kKernels[i];
#endif
  return &portable::kKernels[i];
}

}  // namespace stillbit::pooling
