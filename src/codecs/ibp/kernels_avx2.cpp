#include "codecs/ibp/kernels.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::ibp::avx2 {
namespace {

inline std::uint64_t extract_bits(std::uint64_t word, std::uint64_t mask) {
  return _pext_u64(word, mask);
}
inline std::uint64_t deposit_bits(std::uint64_t bits, std::uint64_t mask) {
  return _pdep_u64(bits, mask);
}

template <class Word, class VectorOfWord>
inline std::uint64_t agree_bits(VectorOfWord differences) {
  const auto bits = (__m256i)differences;
  const __m256i zero = _mm256_setzero_si256();
  if constexpr (sizeof(Word) == 1) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bits, zero)));
  } else if constexpr (sizeof(Word) == 2) {
    return _pext_u32(static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi16(bits, zero))), 0x55555555);
  } else if constexpr (sizeof(Word) == 4) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, zero))));
  } else {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(bits, zero))));
  }
}

constexpr bool kWantsMoves = false;

#include "codecs/ibp/kernels.inl"

#include "codecs/ibp/free_bits_bmi2.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::ibp::avx2
