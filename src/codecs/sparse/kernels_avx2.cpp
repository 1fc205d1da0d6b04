#include "codecs/sparse/kernels.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::sparse::avx2 {
namespace {

constexpr unsigned kVectorBytes = 32;

template <class Word, class VectorOfWord>
inline std::uint64_t differ_bits(VectorOfWord a, VectorOfWord b) {
  const auto left = (__m256i)a;
  const auto right = (__m256i)b;
  if constexpr (sizeof(Word) == 1) {
    return ~static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(left, right)));
  } else if constexpr (sizeof(Word) == 2) {
    const auto equal = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi16(left, right)));
    return _pext_u32(~equal, 0x55555555);
  } else if constexpr (sizeof(Word) == 4) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(left, right)))) ^ 0xFF;
  } else {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(left, right)))) ^ 0xF;
  }
}

inline unsigned select_bit(std::uint64_t word, unsigned rank) {
  return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(std::uint64_t{1} << rank, word)));
}

#include "codecs/sparse/values.inl"

#include "codecs/sparse/elements.inl"

template <class Word, class Values>
inline bool expand(const RowLayout& layout, const Values& values, const std::byte* src, std::uint64_t upper_bits,
                   std::byte* dst) {
  return expand_one_by_one<Word>(layout, values, src, upper_bits, dst);
}

#include "codecs/sparse/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::sparse::avx2
