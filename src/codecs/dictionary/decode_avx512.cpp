#include "codecs/dictionary/blocks.hpp"
#include "codecs/dictionary/kernels.hpp"

#include <immintrin.h>

// Compiled for AVX-512; reached only on machines that have it.

namespace stillbit::dictionary::avx512 {
namespace {

constexpr unsigned kLanes = 16;
constexpr unsigned kAllLanes = 0xFFFF;
typedef std::uint32_t Lanes __attribute__((vector_size(64)));
typedef std::uint64_t Pairs __attribute__((vector_size(64)));

inline __m512i reg(Lanes lanes) {
  return reinterpret_cast<__m512i>(lanes);
}
inline Lanes lanes_of(__m512i reg) {
  return reinterpret_cast<Lanes>(reg);
}
inline __mmask16 mask(unsigned lanes) {
  return static_cast<__mmask16>(lanes);
}

inline Lanes bits_from(const std::byte* src, const std::byte* end, Lanes places) {
  // Where fewer than four bytes are left, what follows them is of no field.
  const std::byte* const next = end - src > 4 ? src + 4 : end;
  const __m512i at = _mm512_srli_epi32(reg(places), 5);
  const __m512i low = _mm512_permutexvar_epi32(at, _mm512_loadu_si512(src));
  const __m512i high = _mm512_permutexvar_epi32(at, _mm512_loadu_si512(next));
  return lanes_of(_mm512_shrdv_epi32(low, high, reg(places)));
}

struct RunningPlaces {
  Lanes places;
  std::uint64_t num_bits;
};

inline RunningPlaces running_places(const std::uint8_t* widths, unsigned lanes) {
  // Eight bytes are added up by one multiplication: seven widths, up to 224 bits, fit in the eighth.
  const __m128i width = _mm_maskz_loadu_epi8(mask(lanes), widths);
  const __m128i before = _mm_slli_epi64(_mm_mullo_epi64(width, _mm_set1_epi8(1)), 8);
  const __m128i halves = _mm_sad_epu8(width, _mm_setzero_si128());
  const __m512i within_halves = _mm512_cvtepu8_epi32(before);
  const __m512i places = _mm512_mask_add_epi32(within_halves, 0xFF00, within_halves, _mm512_broadcastd_epi32(halves));
  return {lanes_of(places), static_cast<std::uint64_t>(_mm_cvtsi128_si64(halves) + _mm_extract_epi64(halves, 1))};
}

inline unsigned equal(Lanes a, Lanes b) {
  return _mm512_cmpeq_epi32_mask(reg(a), reg(b));
}
inline unsigned not_below(Lanes a, Lanes b) {
  return _mm512_cmpge_epu32_mask(reg(a), reg(b));
}
inline Lanes with_lanes(unsigned lanes, Lanes a, Lanes b) {
  return lanes_of(_mm512_mask_mov_epi32(reg(b), mask(lanes), reg(a)));
}
template <class Word>
inline Lanes load_words(const std::byte* src, unsigned count) {
  const __mmask16 lanes = mask((1U << count) - 1);
  if constexpr (sizeof(Word) == 1) return lanes_of(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, src)));
  if constexpr (sizeof(Word) == 2) return lanes_of(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, src)));
  if constexpr (sizeof(Word) == 4)
    return lanes_of(count == kLanes ? _mm512_loadu_si512(src) : _mm512_maskz_loadu_epi32(lanes, src));
}

template <class Word>
inline void store_words(std::byte* dst, Lanes words, unsigned count) {
  const __mmask16 lanes = mask((1U << count) - 1);
  if constexpr (sizeof(Word) == 1) _mm512_mask_cvtepi32_storeu_epi8(dst, lanes, reg(words));
  if constexpr (sizeof(Word) == 2) _mm512_mask_cvtepi32_storeu_epi16(dst, lanes, reg(words));
  if constexpr (sizeof(Word) == 4) {
    if (count == kLanes) return _mm512_storeu_si512(dst, reg(words));
    _mm512_mask_storeu_epi32(dst, lanes, reg(words));
  }
}

#include "codecs/dictionary/decode.inl"

}  // namespace

extern const Decode kDecode[3];
const Decode kDecode[3] = {decode<std::uint8_t>, decode<std::uint16_t>, decode<std::uint32_t>};

}  // namespace stillbit::dictionary::avx512
