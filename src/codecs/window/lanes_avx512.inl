// What differs between words of 1, 2, 4 and 8 bytes in AVX-512 registers. Included inside a namespace.

/// Shifts are by a count for each word: one for all takes an instruction more (Intel). `rotate_right` moves each word's
/// lowest bit to its top. `Mask` has a bit for each word.
template <class Word>
struct Lanes;

template <>
struct Lanes<std::uint8_t> {
  using Mask = __mmask64;
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static __m512i load(const std::byte* src, Mask lanes) { return _mm512_maskz_loadu_epi8(lanes, src); }
  static void store(std::byte* dst, Mask lanes, __m512i words) { _mm512_mask_storeu_epi8(dst, lanes, words); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi8(a, b); }
  static __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi8(a, b); }
  static __m512i counts(unsigned count) { return _mm512_set1_epi16(static_cast<short>(count)); }
  // There are no shifts of bytes: what comes in from the byte beside is masked.
  static __m512i shift_left(__m512i words, unsigned count) {
    return _mm512_and_si512(_mm512_sllv_epi16(words, counts(count)), set(0xFFU << count));
  }
  static __m512i shift_right(__m512i words, unsigned count) {
    return _mm512_and_si512(_mm512_srlv_epi16(words, counts(count)), set(0xFFU >> count));
  }
  static __m512i rotate_right(__m512i words) { return _mm512_or_si512(shift_right(words, 1), shift_left(words, 7)); }
  static __m512i rotate_left(__m512i words) { return _mm512_or_si512(add(words, words), shift_right(words, 7)); }
  static Mask equal(__m512i a, __m512i b) { return _mm512_cmpeq_epi8_mask(a, b); }
  static Mask not_below(__m512i a, __m512i b) { return _mm512_cmpge_epu8_mask(a, b); }
  static Mask any_bit(__m512i a, __m512i b) { return _mm512_test_epi8_mask(a, b); }
  static __m512i blend(Mask lanes, __m512i a, __m512i b) { return _mm512_mask_blend_epi8(lanes, a, b); }
  static __m512i expand(__m512i words, Mask lanes, __m512i from) { return _mm512_mask_expand_epi8(words, lanes, from); }
  static __m512i compress(Mask lanes, __m512i words) { return _mm512_maskz_compress_epi8(lanes, words); }
};

template <>
struct Lanes<std::uint16_t> {
  using Mask = __mmask32;
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static __m512i load(const std::byte* src, Mask lanes) { return _mm512_maskz_loadu_epi16(lanes, src); }
  static void store(std::byte* dst, Mask lanes, __m512i words) { _mm512_mask_storeu_epi16(dst, lanes, words); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
  static __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi16(a, b); }
  static __m512i shift_left(__m512i words, unsigned count) { return _mm512_sllv_epi16(words, set(count)); }
  static __m512i shift_right(__m512i words, unsigned count) { return _mm512_srlv_epi16(words, set(count)); }
  static __m512i rotate_right(__m512i words) { return _mm512_shrdi_epi16(words, words, 1); }
  static __m512i rotate_left(__m512i words) { return _mm512_shldi_epi16(words, words, 1); }
  static Mask equal(__m512i a, __m512i b) { return _mm512_cmpeq_epi16_mask(a, b); }
  static Mask not_below(__m512i a, __m512i b) { return _mm512_cmpge_epu16_mask(a, b); }
  static Mask any_bit(__m512i a, __m512i b) { return _mm512_test_epi16_mask(a, b); }
  static __m512i blend(Mask lanes, __m512i a, __m512i b) { return _mm512_mask_blend_epi16(lanes, a, b); }
  static __m512i expand(__m512i words, Mask lanes, __m512i from) {
    return _mm512_mask_expand_epi16(words, lanes, from);
  }
  static __m512i compress(Mask lanes, __m512i words) { return _mm512_maskz_compress_epi16(lanes, words); }
};

template <>
struct Lanes<std::uint32_t> {
  using Mask = __mmask16;
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static __m512i load(const std::byte* src, Mask lanes) { return _mm512_maskz_loadu_epi32(lanes, src); }
  static void store(std::byte* dst, Mask lanes, __m512i words) { _mm512_mask_storeu_epi32(dst, lanes, words); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
  static __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
  static __m512i shift_left(__m512i words, unsigned count) { return _mm512_sllv_epi32(words, set(count)); }
  static __m512i shift_right(__m512i words, unsigned count) { return _mm512_srlv_epi32(words, set(count)); }
  static __m512i rotate_right(__m512i words) { return _mm512_ror_epi32(words, 1); }
  static __m512i rotate_left(__m512i words) { return _mm512_rol_epi32(words, 1); }
  static Mask equal(__m512i a, __m512i b) { return _mm512_cmpeq_epi32_mask(a, b); }
  static Mask not_below(__m512i a, __m512i b) { return _mm512_cmpge_epu32_mask(a, b); }
  static Mask any_bit(__m512i a, __m512i b) { return _mm512_test_epi32_mask(a, b); }
  static __m512i blend(Mask lanes, __m512i a, __m512i b) { return _mm512_mask_blend_epi32(lanes, a, b); }
  static __m512i expand(__m512i words, Mask lanes, __m512i from) {
    return _mm512_mask_expand_epi32(words, lanes, from);
  }
  static __m512i compress(Mask lanes, __m512i words) { return _mm512_maskz_compress_epi32(lanes, words); }
};

template <>
struct Lanes<std::uint64_t> {
  using Mask = __mmask8;
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }
  static __m512i load(const std::byte* src, Mask lanes) { return _mm512_maskz_loadu_epi64(lanes, src); }
  static void store(std::byte* dst, Mask lanes, __m512i words) { _mm512_mask_storeu_epi64(dst, lanes, words); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi64(a, b); }
  static __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi64(a, b); }
  static __m512i shift_left(__m512i words, unsigned count) { return _mm512_sllv_epi64(words, set(count)); }
  static __m512i shift_right(__m512i words, unsigned count) { return _mm512_srlv_epi64(words, set(count)); }
  static __m512i rotate_right(__m512i words) { return _mm512_ror_epi64(words, 1); }
  static __m512i rotate_left(__m512i words) { return _mm512_rol_epi64(words, 1); }
  static Mask equal(__m512i a, __m512i b) { return _mm512_cmpeq_epi64_mask(a, b); }
  static Mask not_below(__m512i a, __m512i b) { return _mm512_cmpge_epu64_mask(a, b); }
  static Mask any_bit(__m512i a, __m512i b) { return _mm512_test_epi64_mask(a, b); }
  static __m512i blend(Mask lanes, __m512i a, __m512i b) { return _mm512_mask_blend_epi64(lanes, a, b); }
  static __m512i expand(__m512i words, Mask lanes, __m512i from) {
    return _mm512_mask_expand_epi64(words, lanes, from);
  }
  static __m512i compress(Mask lanes, __m512i words) { return _mm512_maskz_compress_epi64(lanes, words); }
};

template <class Word>
using MaskOf = typename Lanes<Word>::Mask;

template <class Mask>
inline std::uint64_t count_of(Mask lanes) {
  return static_cast<unsigned>(__builtin_popcountll(lanes));
}

/// The lanes that `num_bytes` bytes of words fill: fewer than all.
template <class Word>
inline MaskOf<Word> lanes_of(std::uint64_t num_bytes) {
  return static_cast<MaskOf<Word>>((std::uint64_t{1} << (num_bytes / sizeof(Word))) - 1);
}

template <class Word>
constexpr MaskOf<Word> kAllLanes = static_cast<MaskOf<Word>>(~MaskOf<Word>{0});
