#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them. The stages for words of up to 4 bytes work on 32
// symbols at a time; those of stages.inl serve the rest.

namespace stillbit::escape::avx2 {
namespace {

#include "codecs/escape/requests.inl"

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "fields/vectors_avx2.inl"

#include "codecs/escape/stages.inl"

#include "codecs/escape/fields_bmi2.inl"

constexpr std::uint64_t kLanes = 32;

inline __m256i byte_of(std::uint64_t value) {
  return _mm256_set1_epi8(static_cast<char>(value));
}

inline std::uint32_t mask_of(__m256i lanes) {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(lanes));
}

/// The lanes whose bits are set, as bytes of ones.
inline __m256i lanes_of(std::uint32_t mask) {
  const __m256i from_byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
  const __m256i bits = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201U));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(mask)), from_byte);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
}

inline std::uint64_t count_of(std::uint64_t mask) {
  return static_cast<unsigned>(__builtin_popcountll(mask));
}

/// Word lanes: what else differs between words of 2 and 4 bytes.
template <class Word>
struct Lanes;

template <>
struct Lanes<std::uint16_t> : Words<std::uint16_t> {
  /// What `shift` needs to bring bit 0 to bit `at`: a factor here, since a product takes fewer operations than a shift.
  static __m256i shift_to(unsigned at) { return set(std::uint64_t{1} << at); }
  static __m256i shift(__m256i words, __m256i factor) { return _mm256_mullo_epi16(words, factor); }
  static __m256i widen(__m256i symbols, unsigned part) {
    return _mm256_cvtepu8_epi16(part == 0 ? _mm256_castsi256_si128(symbols) : _mm256_extracti128_si256(symbols, 1));
  }
};

template <>
struct Lanes<std::uint32_t> : Words<std::uint32_t> {
  static __m256i shift_to(unsigned at) { return set(at); }
  static __m256i shift(__m256i words, __m256i count) { return _mm256_sllv_epi32(words, count); }
  static __m256i widen(__m256i symbols, unsigned part) {
    const __m128i half = part < 2 ? _mm256_castsi256_si128(symbols) : _mm256_extracti128_si256(symbols, 1);
    return _mm256_cvtepu8_epi32(part % 2 == 0 ? half : _mm_srli_si128(half, 8));
  }
};

#include "codecs/escape/encode_avx2.inl"

#include "codecs/escape/decode_avx2.inl"

template <class Word, bool kPastCaches>
inline bool put_row(const RowLayout& layout, const StoredRow& row, SymbolOf<Word> shift, SymbolOf<Word>* symbols,
                    const std::uint64_t* escapes, std::uint64_t num_escapes, const SymbolOf<Word>* next,
                    std::byte* dst) {
  if constexpr (sizeof(Word) <= 4) {
    return put_words<Word, kPastCaches>(layout, row.data, shift, symbols, next, dst) == num_escapes;
  } else {
    end_first_tier<Word>(layout, row.data, shift, symbols, escapes, next, dst);
    return true;
  }
}

template <class Word>
constexpr bool kDecodesGroups = false;

inline void finish_stores() {
  _mm_sfence();
}

#include "codecs/escape/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::escape::avx2
