#include "codecs/window/kernels.hpp"

#include <immintrin.h>

#include <type_traits>

// Compiled for AVX2 and BMI2; reached only on machines that have them. Words of 2 and 4 bytes are decoded by
// vectors; the other loops, of stages.inl, become vectors by themselves.

namespace stillbit::window::avx2 {
namespace {

#include "fields/rows.inl"

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "fields/vectors_avx2.inl"

#include "fields/expansions_avx2.inl"

#include "codecs/window/layout.inl"

#include "codecs/window/stages.inl"

#include "codecs/window/fields_bmi2.inl"

#include "codecs/window/requests.inl"

#include "codecs/window/join_avx2.inl"

#include "codecs/window/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::window::avx2
