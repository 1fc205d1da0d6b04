#include "codecs/window/kernels.hpp"

#include <immintrin.h>

#include <type_traits>

// Compiled for AVX-512 with byte permutations (VBMI, VBMI2); reached only on machines that have them. Rows are worked
// on 64 bytes of words at a time.

namespace stillbit::window::avx512 {
namespace {

constexpr std::uint64_t kVectorBytes = 64;

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "fields/vectors_avx512.inl"

#include "codecs/window/layout.inl"

#include "codecs/window/lanes_avx512.inl"

#include "fields/packer_avx512.inl"

#include "codecs/window/encode_avx512.inl"

#include "codecs/window/requests.inl"

#include "codecs/window/join_avx512.inl"

#include "codecs/window/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::window::avx512
