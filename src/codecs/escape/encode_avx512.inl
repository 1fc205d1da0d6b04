// How symbols are counted and coded by AVX-512, 64 at a time. Included by kernels_avx512.cpp.

template <class TierTable>
inline void count_beyond(const RowLayout& layout, const TierTable& tier_of, const std::uint8_t* symbols,
                         std::uint64_t shift, std::uint64_t* num_beyond) {
  const __m512i mask = byte_of(layout.shape.symbol_mask);
  const __m512i by = byte_of(shift);
  const __m512i one = byte_of(1);
  const __m512i two = byte_of(2);
  std::uint64_t beyond_first = 0;
  std::uint64_t beyond_second = 0;
  std::uint64_t beyond_third = 0;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    const __mmask64 lanes = lanes_of(layout.num_columns - first);
    const __m512i shifted = _mm512_and_si512(_mm512_sub_epi8(_mm512_loadu_si512(symbols + first), by), mask);
    const __m512i tier = tier_of(shifted);
    beyond_first += count_of(_mm512_mask_test_epi8_mask(lanes, tier, tier));
    beyond_second += count_of(_mm512_mask_cmpgt_epu8_mask(lanes, tier, one));
    beyond_third += count_of(_mm512_mask_cmpgt_epu8_mask(lanes, tier, two));
  }
  num_beyond[0] = beyond_first;
  num_beyond[1] = beyond_second;
  num_beyond[2] = beyond_third;
}

inline void count_beyond(const RowLayout& layout, const std::uint8_t* symbols, std::uint64_t shift,
                         std::uint64_t* num_beyond) {
  with_table(layout, layout.tier_of_symbol, layout.num_tiers,
             [&](const auto& tier_of) { count_beyond(layout, tier_of, symbols, shift, num_beyond); });
}

/// Writes a block of 64 codes.
template <unsigned kWidth>
inline void store_block(std::byte* block, __m512i codes) {
  const __m512i two_bits = byte_of(3);
  const __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
  for (unsigned bit = 0; bit + 2 <= kWidth; bit += 2, block += 16) {
    const __m512i pair = kWidth == 2 ? codes : _mm512_and_si512(_mm512_srli_epi16(codes, bit), two_bits);
    const __m512i placed = _mm512_sllv_epi64(pair, places);
    const __m256i halves = _mm256_or_si256(_mm512_castsi512_si256(placed), _mm512_extracti64x4_epi64(placed, 1));
    const __m128i joined = _mm_or_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(block), joined);
  }
  if constexpr (kWidth % 2 != 0)
    stillbit::store(block, static_cast<std::uint64_t>(_mm512_test_epi8_mask(codes, byte_of(1U << (kWidth - 1)))));
}

/// Writes up to 64 codes without gaps. The lanes behind them are 0. 64 bytes must be writable.
template <unsigned kWidth>
inline void store_in_turn(std::byte* dst, __m512i codes) {
  // Neighbours are joined until the low end of each 8 bytes has eight codes. (Sums stand for "or": no bits meet.)
  const __m512i next_code = _mm512_set1_epi16(1U << kWidth << 8 | 1);
  const __m512i next_pair = _mm512_set1_epi32(1U << (2 * kWidth) << 16 | 1);
  const __m512i fours = _mm512_madd_epi16(_mm512_maddubs_epi16(codes, next_code), next_pair);
  const __m512i eights = _mm512_or_si512(fours, _mm512_srli_epi64(fours, 32 - 4 * kWidth));
  _mm512_storeu_si512(dst, _mm512_maskz_compress_epi8(low_mask(kWidth) * in_each_word<std::uint8_t>(1), eights));
}

template <unsigned kWidth, class CodeTable>
inline std::uint64_t encode_tier_of(const CodeTable& code_of, bool in_blocks, const std::uint8_t* symbols,
                                    std::uint64_t count, std::byte* codes, std::uint8_t* beyond) {
  std::uint8_t* next = beyond;
  const auto move_escapes = [&](__m512i symbol, __mmask64 escapes) {
    _mm512_storeu_si512(next, _mm512_maskz_compress_epi8(escapes, symbol));
    next += count_of(escapes);
  };
  for (; count >= kBlockCodes; count -= kBlockCodes, symbols += kBlockCodes, codes += 8 * kWidth) {
    const __m512i symbol = _mm512_loadu_si512(symbols);
    const __m512i code = code_of(symbol);
    move_escapes(symbol, _mm512_testn_epi8_mask(code, code));
    in_blocks ? store_block<kWidth>(codes, code) : store_in_turn<kWidth>(codes, code);
  }
  if (count > 0) {
    const __m512i symbol = _mm512_loadu_si512(symbols);
    const __m512i code = _mm512_maskz_mov_epi8(lanes_of(count), code_of(symbol));
    move_escapes(symbol, _mm512_mask_testn_epi8_mask(lanes_of(count), code, code));
    store_in_turn<kWidth>(codes, code);
  }
  return static_cast<std::uint64_t>(next - beyond);
}

inline std::uint64_t encode_tier(const RowLayout& layout, unsigned tier, const std::uint8_t* symbols,
                                 std::uint64_t count, std::byte* codes, std::uint8_t* beyond) {
  const auto encode_with_width = [&](auto width) {
    return with_table(layout, layout.code_of_symbol[tier], 0, [&](const auto& code_of) {
      return encode_tier_of<width.value>(code_of, tier == 0, symbols, count, codes, beyond);
    });
  };
  switch (layout.tier_bits[tier]) {
    case 1:
      return encode_with_width(Constant<1>());
    case 2:
      return encode_with_width(Constant<2>());
    case 3:
      return encode_with_width(Constant<3>());
    default:
      return encode_with_width(Constant<4>());
  }
}
