#include "pooling/kernels.hpp"

#include "core/bytes.hpp"

#include <immintrin.h>

#include <limits>
#include <type_traits>

// Compiled for AVX-512; reached only on machines that have it.

namespace stillbit::pooling::avx512 {
namespace {

constexpr std::uint64_t kVectorBytes = 64;

#include "pooling/floats.inl"

inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Floats widen_f16(Halves words) {
  return _mm512_cvtph_ps(reinterpret_cast<__m256i>(words));
}
inline Halves narrow_f16(Floats values) {
  return reinterpret_cast<Halves>(_mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "pooling/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<F16>, kKernelsFor<BF16>, kKernelsFor<F32>, kKernelsFor<F64>};

}  // namespace stillbit::pooling::avx512
