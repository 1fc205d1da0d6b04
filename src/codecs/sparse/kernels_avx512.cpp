#include "codecs/sparse/kernels.hpp"

#include <immintrin.h>

// Compiled for AVX-512; reached only on machines that have it.

namespace stillbit::sparse::avx512 {
namespace {

constexpr unsigned kVectorBytes = 64;

template <class Word, class VectorOfWord>
inline std::uint64_t differ_bits(VectorOfWord a, VectorOfWord b) {
  const auto left = (__m512i)a;
  const auto right = (__m512i)b;
  if constexpr (sizeof(Word) == 1) {
    return _mm512_cmpneq_epi8_mask(left, right);
  } else if constexpr (sizeof(Word) == 2) {
    return _mm512_cmpneq_epi16_mask(left, right);
  } else if constexpr (sizeof(Word) == 4) {
    return _mm512_cmpneq_epi32_mask(left, right);
  } else {
    return _mm512_cmpneq_epi64_mask(left, right);
  }
}

inline unsigned select_bit(std::uint64_t word, unsigned rank) {
  return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(std::uint64_t{1} << rank, word)));
}

#include "codecs/sparse/values.inl"

#include "codecs/sparse/elements.inl"

#include "codecs/sparse/elements_avx512.inl"

template <class Word, class Values>
inline bool expand(const RowLayout& layout, const Values& values, const std::byte* src, std::uint64_t upper_bits,
                   std::byte* dst) {
  const bool has_few = layout.low_bits != 0 && upper_bits - layout.num_buckets < 8;
  if (has_few || layout.low_bits + layout.code_bits > kMaxVectorFieldBits) {
    return expand_one_by_one<Word>(layout, values, src, upper_bits, dst);
  }
  return expand_in_vectors<Word>(layout, values, src, upper_bits, dst);
}

#include "codecs/sparse/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::sparse::avx512
