#include "codecs/rans/kernels.hpp"

#include "codecs/rans/lane.hpp"

#include <immintrin.h>

// Compiled for AVX-512 with byte permutations (VBMI, VBMI2); reached only on machines that have them. Two vectors have
// the states of a row; words of up to 4 bytes are put together in whole vectors.

namespace stillbit::rans::avx512 {
namespace {

#include "fields/writer.inl"

#include "fields/plane.inl"
#include "fields/plane_bmi2.inl"

#include "codecs/rans/stages.inl"

#include "codecs/rans/fields_bmi2.inl"

#include "codecs/rans/decode_avx512.inl"

#include "codecs/rans/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::rans::avx512
