#include "pooling/kernels.hpp"

#include "core/bytes.hpp"

#include <immintrin.h>

#include <limits>
#include <type_traits>

// Compiled for AVX2, FMA and F16C; reached only on machines that have them.

namespace stillbit::pooling::avx2 {
namespace {

constexpr std::uint64_t kVectorBytes = 32;
constexpr unsigned kBlockVectors = 8;  // of 16 registers

#include "pooling/floats.inl"

inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Floats widen_f16(Shorts words, unsigned half) {
  const auto bits = reinterpret_cast<__m256i>(words);
  return _mm256_cvtph_ps(half == 0 ? _mm256_castsi256_si128(bits) : _mm256_extracti128_si256(bits, 1));
}
inline Shorts narrow_f16(Floats lower, Floats upper) {
  constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return reinterpret_cast<Shorts>(
      _mm256_set_m128i(_mm256_cvtps_ph(upper, kNearestEven), _mm256_cvtps_ph(lower, kNearestEven)));
}

#include "pooling/finish.inl"

#include "pooling/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<F16>, kKernelsFor<BF16>, kKernelsFor<F32>, kKernelsFor<F64>};

}  // namespace stillbit::pooling::avx2
