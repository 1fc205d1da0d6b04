#include "pooling/kernels.hpp"

#include "core/bytes.hpp"

#include <immintrin.h>

#include <limits>
#include <type_traits>

// Compiled for AVX-512; reached only on machines that have it.

namespace stillbit::pooling::avx512 {
namespace {

constexpr std::uint64_t kVectorBytes = 64;
constexpr unsigned kBlockVectors = 16;  // of 32 registers

#include "pooling/floats.inl"

#include "pooling/f16_avx512.inl"

#include "pooling/finish.inl"

#include "pooling/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<F16>, kKernelsFor<BF16>, kKernelsFor<F32>, kKernelsFor<F64>};

}  // namespace stillbit::pooling::avx512
