#include "codecs/dictionary/blocks.hpp"
#include "codecs/dictionary/kernels.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::dictionary::avx2 {
namespace {

constexpr unsigned kLanes = 8;
constexpr unsigned kAllLanes = 0xFF;
typedef std::uint32_t Lanes __attribute__((vector_size(32)));
typedef std::uint64_t Pairs __attribute__((vector_size(32)));

inline __m256i reg(Lanes lanes) {
  return reinterpret_cast<__m256i>(lanes);
}
inline Lanes lanes_of(__m256i reg) {
  return reinterpret_cast<Lanes>(reg);
}
inline __m256i load_reg(const std::byte* src) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src));
}

/// All ones in the lanes that are meant.
inline Lanes mask(unsigned lanes) {
  const Lanes bits = {1, 2, 4, 8, 16, 32, 64, 128};
  return lanes_of(_mm256_cmpeq_epi32(reg((Lanes{} + lanes) & bits), reg(bits)));
}

inline Lanes bits_from(const std::byte* src, const std::byte*, Lanes places) {
  const Lanes at = places >> 5;
  const Lanes shift = places & 31;
  const __m256i low = _mm256_permutevar8x32_epi32(load_reg(src), reg(at));
  const __m256i high = _mm256_permutevar8x32_epi32(load_reg(src + 4), reg(at));
  // A shift by 32 gives 0.
  return lanes_of(_mm256_or_si256(_mm256_srlv_epi32(low, reg(shift)), _mm256_sllv_epi32(high, reg(32 - shift))));
}

struct RunningPlaces {
  Lanes places;
  std::uint64_t num_bits;
};

inline RunningPlaces running_places(const std::uint8_t* widths, unsigned lanes) {
  // All are added up by one multiplication: seven widths, up to 224 bits, fit in the eighth byte.
  constexpr std::uint64_t kEachByte = 0x0101010101010101;
  std::uint64_t width;
  __builtin_memcpy(&width, widths, sizeof(width));
  width &= _pdep_u64(lanes, kEachByte) * 0xFF;
  const std::uint64_t before = (width * kEachByte) << 8;
  return {lanes_of(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(before)))),
          (before >> 56) + (width >> 56)};
}

inline unsigned sign_bits(__m256i lanes) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(lanes)));
}
inline unsigned equal(Lanes a, Lanes b) {
  return sign_bits(_mm256_cmpeq_epi32(reg(a), reg(b)));
}
inline unsigned not_below(Lanes a, Lanes b) {
  return sign_bits(_mm256_cmpeq_epi32(_mm256_max_epu32(reg(a), reg(b)), reg(a)));
}
inline Lanes with_lanes(unsigned lanes, Lanes a, Lanes b) {
  return lanes_of(_mm256_blendv_epi8(reg(b), reg(a), reg(mask(lanes))));
}
/// The low ends of all lanes, one behind the other.
template <class Word>
inline __m256i narrowed(Lanes words) {
  if constexpr (sizeof(Word) == 4) return reg(words);
  const __m256i low = sizeof(Word) == 2
                          ? _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                             0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1)
                          : _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                             0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i halves =
      sizeof(Word) == 2 ? _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7) : _mm256_setr_epi32(0, 4, 1, 2, 3, 5, 6, 7);
  return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(reg(words), low), halves);
}

template <class Word>
inline void store_words(std::byte* dst, Lanes words, unsigned count) {
  const __m256i bytes = narrowed<Word>(words);
  if (count == kLanes) {
    __builtin_memcpy(dst, &bytes, kLanes * sizeof(Word));
  } else {
    __builtin_memcpy(dst, &bytes, count * sizeof(Word));
  }
}

template <class Word>
inline Lanes load_words(const std::byte* src, unsigned count) {
  __m256i bytes = _mm256_setzero_si256();
  if (count == kLanes) {
    __builtin_memcpy(&bytes, src, kLanes * sizeof(Word));
  } else {
    __builtin_memcpy(&bytes, src, count * sizeof(Word));
  }
  if constexpr (sizeof(Word) == 1) return lanes_of(_mm256_cvtepu8_epi32(_mm256_castsi256_si128(bytes)));
  if constexpr (sizeof(Word) == 2) return lanes_of(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(bytes)));
  if constexpr (sizeof(Word) == 4) return lanes_of(bytes);
}

#include "codecs/dictionary/decode.inl"

}  // namespace

extern const Decode kDecode[3];
const Decode kDecode[3] = {decode<std::uint8_t>, decode<std::uint16_t>, decode<std::uint32_t>};

}  // namespace stillbit::dictionary::avx2
