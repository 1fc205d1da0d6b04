#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::escape::avx2 {
namespace {

inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* codes, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes);

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "codecs/escape/stages.inl"

#include "codecs/escape/fields_bmi2.inl"

/// 32 codes of a block: the first ones or the last ones.
inline __m256i block_codes(const std::byte* block, bool is_second, unsigned width) {
  const __m256i two_bits = _mm256_set1_epi8(3);
  const __m256i shifts = is_second ? _mm256_set_epi64x(6, 6, 4, 4) : _mm256_set_epi64x(2, 2, 0, 0);
  __m256i codes = _mm256_setzero_si256();
  for (unsigned bit = 0; bit + 2 <= width; bit += 2, block += 16) {
    const __m256i pairs = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block)));
    const __m256i pair = _mm256_and_si256(_mm256_srlv_epi64(pairs, shifts), two_bits);
    codes = _mm256_or_si256(codes, _mm256_sll_epi16(pair, _mm_cvtsi32_si128(static_cast<int>(bit))));
  }
  if (width % 2 != 0) {
    const auto ones = load<std::uint32_t>(block + (is_second ? 4 : 0));
    const __m256i bytes =
        _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(ones)),
                            _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0));
    const __m256i bits = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201U));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
    codes = _mm256_or_si256(codes, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(1 << (width - 1)))));
  }
  return codes;
}

/// As in stages.inl, 32 codes at a time.
inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* codes, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes) {
  const __m256i symbol_of_code =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier])));
  const unsigned width = layout.tier_bits[tier];
  std::uint64_t num_escapes = 0;
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, codes += 8 * width) {
    const auto look_up = [&](bool is_second) -> std::uint64_t {
      const __m256i code = block_codes(codes, is_second, width);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(symbols + first + (is_second ? 32 : 0)),
                          _mm256_shuffle_epi8(symbol_of_code, code));
      return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(code, _mm256_setzero_si256())));
    };
    const std::uint64_t found = look_up(false) | look_up(true) << 32;
    *escapes++ = found;
    num_escapes += static_cast<unsigned>(__builtin_popcountll(found));
  }
  return num_escapes + decode_tier<std::uint8_t>(layout, tier, codes, count - first, symbols + first, escapes);
}

constexpr bool kCanPassCaches = false;
inline void finish_stores() {}
template <class Word, bool kPastCaches>
inline void put_row(const RowLayout& layout, const std::byte* fixed, SymbolOf<Word> shift, SymbolOf<Word>* symbols,
                    const std::uint64_t* escapes, const SymbolOf<Word>* next, std::byte* dst) {
  end_first_tier<Word>(layout, fixed, shift, symbols, escapes, next, dst);
}

#include "codecs/escape/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::escape::avx2
