#include "published/kernels.hpp"

#include "core/bytes.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::published::avx2 {
namespace {

inline std::uint64_t extract_bits(std::uint64_t word, std::uint64_t mask) {
  return _pext_u64(word, mask);
}
inline std::uint64_t deposit_bits(std::uint64_t bits, std::uint64_t mask) {
  return _pdep_u64(bits, mask);
}
inline std::uint64_t reverse_quarters(std::uint64_t word) {
  const __m128i vector = _mm_cvtsi64_si128(static_cast<std::int64_t>(word));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_shufflelo_epi16(vector, 0b00'01'10'11)));
}

#include "published/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::published::avx2
