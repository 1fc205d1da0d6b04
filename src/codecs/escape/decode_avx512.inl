// Stages of decoding by AVX-512, for words of up to 4 bytes: 64 symbols at a time. Included by kernels_avx512.cpp.

/// Takes codes apart.
struct Codes {
  unsigned width;

  [[nodiscard]] __m512i pair(const std::byte* src) const { return _mm512_and_si512(loose_pair(src), byte_of(3)); }

  /// The codes of a block of 2 bits each, with other bits above them.
  [[nodiscard]] static __m512i loose_pair(const std::byte* src) {
    const __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i pairs = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
    return _mm512_srlv_epi64(pairs, places);
  }

  /// The codes of a block.
  [[nodiscard]] __m512i block(const std::byte* src) const {
    switch (width) {
      case 1:
        return _mm512_maskz_mov_epi8(stillbit::load<std::uint64_t>(src), byte_of(1));
      case 2:
        return pair(src);
      case 3: {
        const __m512i low = pair(src);
        return _mm512_mask_add_epi8(low, stillbit::load<std::uint64_t>(src + 16), low, byte_of(4));
      }
      default:
        return _mm512_or_si512(pair(src), _mm512_slli_epi16(pair(src + 16), 2));
    }
  }

  /// Codes that follow each other without gaps, up to 64 of them: eight lie in `width` bytes, of which each group of 8
  /// lanes takes its own.
  [[nodiscard]] __m512i rest(const std::byte* src) const {
    return rest(_mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src))));
  }
  [[nodiscard]] __m512i rest(__m512i bytes) const {
    return rest_of(_mm512_multishift_epi64_epi8(rest_from_bit(), _mm512_permutexvar_epi8(rest_from_byte(), bytes)));
  }
  /// Where a code's group of 8 lanes takes its bytes from, where the lane its bits, and what of these is the code.
  [[nodiscard]] __m512i rest_from_byte() const {
    const __m512i group =
        _mm512_set_epi64(0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
                         0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    return _mm512_add_epi8(_mm512_mullo_epi16(group, scale()), lane_in_group());
  }
  [[nodiscard]] __m512i rest_from_bit() const { return _mm512_mullo_epi16(lane_in_group(), scale()); }
  [[nodiscard]] __m512i rest_of(__m512i bits) const { return _mm512_and_si512(bits, byte_of(low_mask(width))); }

 private:
  [[nodiscard]] static __m512i lane_in_group() { return _mm512_set1_epi64(0x0706050403020100); }
  [[nodiscard]] __m512i scale() const { return _mm512_set1_epi16(static_cast<short>(width)); }
};

/// A table for lookups by bytes' low four bits. Where codes have two, it may also be looked up by low six, of which the
/// upper four do not matter.
inline __m512i symbols_of_codes(const RowLayout& layout, unsigned tier) {
  const __m128i symbols = _mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier]));
  return layout.tier_bits[tier] == 2 ? _mm512_broadcastd_epi32(symbols) : _mm512_broadcast_i32x4(symbols);
}

/// The number of the first tier's escapes.
inline std::uint64_t count_first_tier(const RowLayout& layout, const std::byte* src) {
  const Codes codes{layout.tier_bits[0]};
  std::uint64_t left = layout.num_columns;
  std::uint64_t num_escapes = 0;
  for (; left >= kBlockCodes; left -= kBlockCodes, src += 8 * codes.width) {
    const __m512i code = codes.block(src);
    num_escapes += count_of(_mm512_testn_epi8_mask(code, code));
  }
  if (left > 0) {
    const __m512i code = codes.rest(src);
    num_escapes += count_of(_mm512_mask_testn_epi8_mask(lanes_of(left), code, code));
  }
  return num_escapes;
}

/// Puts the bytes at `next`, in order, into the lanes that were found, which are mostly few: whole vectors would cross
/// a line more often. The load is kept apart from the expansion: as one instruction they take several times as long
/// (AMD Zen 4).
inline __m512i expand(__m512i symbols, __mmask64 found, const std::uint8_t* next) {
  constexpr std::uint64_t kFew = 32;
  if (__builtin_expect(count_of(found) > kFew, 0))
    return _mm512_mask_expand_epi8(symbols, found, _mm512_loadu_si512(next));
  // NOLINTNEXTLINE(misc-const-correctness): may be changed below
  __m512i few = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
  __asm__("" : "+v"(few));
  return _mm512_mask_expand_epi8(symbols, found, few);
}
