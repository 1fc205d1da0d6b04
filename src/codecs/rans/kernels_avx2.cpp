#include "codecs/rans/kernels.hpp"

#include "codecs/rans/lane.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them. Four vectors have the states of a row.

namespace stillbit::rans::avx2 {
namespace {

#include "fields/writer.inl"

#include "fields/plane.inl"

#include "fields/plane_bmi2.inl"

#include "fields/vectors_avx2.inl"

#include "fields/expansions_avx2.inl"

#include "codecs/rans/stages.inl"

#include "codecs/rans/fields_bmi2.inl"

#include "codecs/rans/decode_avx2.inl"

#include "codecs/rans/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::rans::avx2
