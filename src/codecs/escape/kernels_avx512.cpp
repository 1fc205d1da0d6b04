#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <immintrin.h>

#include <type_traits>

// Compiled for AVX-512 with byte permutations (VBMI, VBMI2); reached only on machines that have them. The stages for
// words of up to 4 bytes work on 64 symbols at a time; those of stages.inl serve the rest.

namespace stillbit::escape::avx512 {
namespace {

#include "codecs/escape/requests.inl"

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "fields/vectors_avx512.inl"

#include "codecs/escape/stages.inl"

#include "codecs/escape/fields_bmi2.inl"

constexpr std::uint64_t kLanes = 64;

/// The lanes that `left` symbols fill, 64 at most.
inline __mmask64 lanes_of(std::uint64_t left) {
  return left >= kLanes ? ~std::uint64_t{0} : low_mask(static_cast<unsigned>(left));
}

inline std::uint64_t count_of(__mmask64 lanes) {
  return static_cast<unsigned>(__builtin_popcountll(lanes));
}

inline __m512i byte_of(std::uint64_t value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

/// The bits of `a` where `mask` has ones, and elsewhere those of `b`.
inline __m512i selected(__m512i mask, __m512i a, __m512i b) {
  constexpr int kSecondWhereFirstElseThird = 0xCA;
  return _mm512_ternarylogic_epi64(mask, a, b, kSecondWhereFirstElseThird);
}

/// A table of 256 bytes, for symbols of 8 bits.
struct Table {
  __m512i part[4];

  explicit Table(const std::uint8_t* entries) {
    for (unsigned i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(entries + 64 * i);
  }
  [[nodiscard]] __m512i operator()(__m512i symbols) const {
    const __m512i low = _mm512_permutex2var_epi8(part[0], symbols, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], symbols, part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(symbols), low, high);
  }
};

/// The same where all but the entries of 63 symbols, from `first` on, are alike.
struct NearTable {
  __m512i first_symbol;
  __m512i part;

  NearTable(const std::uint8_t* entries, std::uint64_t first, std::uint64_t other)
      : first_symbol(byte_of(first)),
        part(_mm512_mask_mov_epi8(byte_of(other), low_mask(63), _mm512_loadu_si512(entries + first))) {}

  [[nodiscard]] __m512i operator()(__m512i symbols) const {
    return _mm512_permutexvar_epi8(_mm512_min_epu8(_mm512_sub_epi8(symbols, first_symbol), byte_of(63)), part);
  }
};

/// Calls `body` with a table of entries that are `other` for symbols that no tier has.
template <class Body>
inline __attribute__((always_inline)) auto with_table(const RowLayout& layout, const std::uint8_t* entries,
                                                      std::uint64_t other, const Body& body) {
  return layout.tiers_are_near ? body(NearTable(entries, layout.first_near_symbol, other)) : body(Table(entries));
}

/// Stands for a mask of all lanes.
struct AllLanes {};

/// Word lanes: what differs between words of 1, 2 and 4 bytes. How far words are shifted is said for each of them: one
/// count for all takes an instruction more (Intel).
template <class Word>
struct Lanes;

template <>
struct Lanes<std::uint8_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) { return _mm512_maskz_loadu_epi8(lanes, src); }
  static __m512i set(std::uint64_t value) { return byte_of(value); }
  static __m512i set_count(unsigned count) { return _mm512_set1_epi16(static_cast<short>(count)); }
  // Bits that cross into the next byte are masked by the caller, or are none.
  static __m512i shift_left(__m512i words, __m512i counts) { return _mm512_sllv_epi16(words, counts); }
  static __m512i shift_right(__m512i words, __m512i counts) { return _mm512_srlv_epi16(words, counts); }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m512i counts, __m512i mask) {
    _mm512_storeu_si512(dst, _mm512_and_si512(_mm512_srlv_epi16(words, counts), mask));
  }
};

template <>
struct Lanes<std::uint16_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes), src);
  }
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static __m512i set_count(unsigned count) { return set(count); }
  static __m512i shift_left(__m512i words, __m512i counts) { return _mm512_sllv_epi16(words, counts); }
  static __m512i shift_right(__m512i words, __m512i counts) { return _mm512_srlv_epi16(words, counts); }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m512i counts, __m512i mask) {
    const __m256i symbols = _mm512_cvtepi16_epi8(_mm512_srlv_epi16(words, counts));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_and_si256(symbols, _mm512_castsi512_si256(mask)));
  }
};

template <>
struct Lanes<std::uint32_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) {
    return _mm512_maskz_loadu_epi32(static_cast<__mmask16>(lanes), src);
  }
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static __m512i set_count(unsigned count) { return set(count); }
  static __m512i shift_left(__m512i words, __m512i counts) { return _mm512_sllv_epi32(words, counts); }
  static __m512i shift_right(__m512i words, __m512i counts) { return _mm512_srlv_epi32(words, counts); }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m512i counts, __m512i mask) {
    const __m128i symbols = _mm512_cvtepi32_epi8(_mm512_srlv_epi32(words, counts));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm_and_si128(symbols, _mm512_castsi512_si128(mask)));
  }
};

/// Calls `body(part, offset, lanes)` for each vector of words that 64 symbols from `first` on belong to. `lanes` is
/// known to be all where there are so many: masked stores are slow.
template <class Word, class Body>
inline __attribute__((always_inline)) void for_each_vector(std::uint64_t first, std::uint64_t num_columns, Body body) {
  constexpr unsigned kWords = 64 / sizeof(Word);
  const std::uint64_t left = num_columns - first;
  if (left >= kLanes) {
#pragma GCC unroll 4
    for (unsigned part = 0; part < sizeof(Word); ++part) body(part, (first + part * kWords) * sizeof(Word), AllLanes());
    return;
  }
  for (unsigned part = 0; part * kWords < left; ++part) {
    const std::uint64_t here = left - part * kWords;
    const std::uint64_t offset = (first + part * kWords) * sizeof(Word);
    here >= kWords ? body(part, offset, AllLanes()) : body(part, offset, lanes_of(here));
  }
}

#include "fields/packer_avx512.inl"

#include "codecs/escape/split_avx512.inl"

#include "codecs/escape/encode_avx512.inl"

#include "codecs/escape/decode_avx512.inl"

#include "codecs/escape/escapes_avx512.inl"

#include "codecs/escape/join_avx512.inl"

#include "codecs/escape/rows_avx512.inl"

/// Of words of eight bytes.
template <class Word, bool kPastCaches>
inline bool put_row(const RowLayout& layout, const StoredRow& row, SymbolOf<Word> shift, SymbolOf<Word>* symbols,
                    const std::uint64_t* escapes, std::uint64_t, const SymbolOf<Word>* next, std::byte* dst) {
  end_first_tier<Word>(layout, row.data, shift, symbols, escapes, next, dst);
  return true;
}

template <class Word>
constexpr bool kDecodesGroups = sizeof(Word) <= 4;

inline void finish_stores() {
  _mm_sfence();
}

#include "codecs/escape/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::escape::avx512
