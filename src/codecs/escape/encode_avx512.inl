// Stages of encoding by AVX-512, for words of up to 4 bytes: 64 symbols at a time. Included by kernels_avx512.cpp.

template <class Word>
inline bool split_symbols_wide(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  const __m512i mask = byte_of(layout.shape.symbol_mask);
  const __m128i symbol_at = shift_count(layout.shape.symbol_at);
  __m512i all = _mm512_setzero_si512();
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    for_each_vector<Word>(first, layout.num_columns, [&](unsigned part, std::uint64_t offset, auto lanes) {
      const __m512i words = Lanes<Word>::load(row + offset, lanes);
      all = _mm512_or_si512(all, words);
      Lanes<Word>::store_symbols(symbols + first + part * (64 / sizeof(Word)), words, symbol_at, mask);
    });
  }
  const __m512i forbidden = Lanes<Word>::set(layout.shape.forbidden);
  return _mm512_test_epi64_mask(all, forbidden) == 0;
}

template <>
inline bool split_symbols<std::uint8_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint8_t>(layout, row, symbols);
}
template <>
inline bool split_symbols<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint16_t>(layout, row, symbols);
}
template <>
inline bool split_symbols<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint32_t>(layout, row, symbols);
}

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

/// The fields of 64 bytes of words, at the words' low ends.
template <class Word>
struct LowFields {
  explicit LowFields(const WordShape& shape)
      : rest_mask(Lanes<Word>::set(shape.rest_mask)),
        sign_mask(Lanes<Word>::set(shape.sign_mask >> shape.sign_shift)),
        dropped_bits(shift_count(shape.dropped_bits)),
        sign_shift(shift_count(shape.sign_shift)) {}

  [[nodiscard]] __m512i of(__m512i words) const {
    const __m512i rest = _mm512_and_si512(Lanes<Word>::shift_right(words, dropped_bits), rest_mask);
    const __m512i sign = _mm512_and_si512(Lanes<Word>::shift_right(words, sign_shift), sign_mask);
    return _mm512_or_si512(rest, sign);
  }

  __m512i rest_mask;
  __m512i sign_mask;
  __m128i dropped_bits;
  __m128i sign_shift;
};

/// Fields of whole bytes: each word's field is brought to its low end, and the bytes above it are left out.
template <class Word>
inline void pack_whole_bytes(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const LowFields<Word> fields(layout.shape);
  const std::uint64_t field_bytes = layout.shape.fixed_bits / 8;
  constexpr std::uint64_t kEachWord = ~std::uint64_t{0} / low_mask(sizeof(Word));
  const __mmask64 kept = low_mask(static_cast<unsigned>(field_bytes)) * kEachWord;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    for_each_vector<Word>(first, layout.num_columns, [&](unsigned, std::uint64_t offset, auto lanes) {
      const __m512i packed = _mm512_maskz_compress_epi8(kept, fields.of(Lanes<Word>::load(row + offset, lanes)));
      _mm512_storeu_si512(dst, packed);
      dst += 64 / sizeof(Word) * field_bytes;
    });
  }
}

template <>
inline void pack_fields<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  if (layout.shape.fixed_bits % 8 == 0) return pack_whole_bytes<std::uint16_t>(layout, row, dst);
  extract_fields<std::uint16_t>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
}
template <>
inline void pack_fields<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  if (layout.shape.fixed_bits % 8 == 0) return pack_whole_bytes<std::uint32_t>(layout, row, dst);
  extract_fields<std::uint32_t>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
}

/// Where the bytes of a plane come from that has the low kFieldBytes bytes of each word: those of the plane's vector i
/// lie in the vectors i and i + 1 of words.
template <unsigned kWordBytes, unsigned kFieldBytes>
struct PlaneBytes {
  std::uint8_t from[kFieldBytes][64] = {};

  constexpr PlaneBytes() {
    for (unsigned i = 0; i < 64 * kFieldBytes; ++i)
      from[i / 64][i % 64] = static_cast<std::uint8_t>(i / kFieldBytes * kWordBytes + i % kFieldBytes - i / 64 * 64);
  }
};
template <unsigned kWordBytes, unsigned kFieldBytes>
constexpr PlaneBytes<kWordBytes, kFieldBytes> kPlaneBytes;

/// Vector `i` of the plane of the words' low kFieldBytes bytes.
template <class Word, unsigned kFieldBytes>
inline __m512i plane_vector(const __m512i (&words)[sizeof(Word)], unsigned i) {
  const __m512i from = _mm512_loadu_si512(kPlaneBytes<sizeof(Word), kFieldBytes>.from[i]);
  return _mm512_permutex2var_epi8(words[i], from, words[i + 1]);
}

/// The low byte of each of 64 words, in order.
inline __m512i low_bytes(const __m512i (&words)[2]) {
  return plane_vector<std::uint16_t, 1>(words, 0);
}
inline __m512i low_bytes(const __m512i (&words)[4]) {
  const __m512i from = _mm512_loadu_si512(kPlaneBytes<4, 1>.from[0]);  // which is right for 32 of them
  const __m512i low = _mm512_permutex2var_epi8(words[0], from, words[1]);
  const __m512i high = _mm512_permutex2var_epi8(words[2], from, words[3]);
  return _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
}

/// Takes 64 words apart whose fields are as wide as all but one byte of a word: those of bf16 and f32 with their sign.
template <class Word>
struct WideFields {
  explicit WideFields(const RowLayout& layout)
      : fields(layout.shape),
        mask(byte_of(layout.shape.symbol_mask)),
        symbol_at(shift_count(layout.shape.symbol_at)),
        forbidden(Lanes<Word>::set(layout.shape.forbidden)) {}

  void take(const __m512i (&words)[sizeof(Word)]) {
#pragma GCC unroll 4
    for (unsigned part = 0; part < sizeof(Word); ++part) {
      all = _mm512_or_si512(all, words[part]);
      shifted[part] = Lanes<Word>::shift_right(words[part], symbol_at);
      field[part] = fields.of(words[part]);
    }
  }
  [[nodiscard]] __m512i symbols() const { return _mm512_and_si512(low_bytes(shifted), mask); }
  [[nodiscard]] __m512i plane(unsigned i) const { return plane_vector<Word, sizeof(Word) - 1>(field, i); }
  [[nodiscard]] bool are_sound() const { return _mm512_test_epi64_mask(all, forbidden) == 0; }

  LowFields<Word> fields;
  __m512i mask;
  __m128i symbol_at;
  __m512i forbidden;
  __m512i all = _mm512_setzero_si512();
  __m512i shifted[sizeof(Word)];
  __m512i field[sizeof(Word)];
};

/// The same where the symbol is the exponent, and no bit is left out.
template <class Word>
struct Floats;

template <>
struct Floats<std::uint16_t> {
  explicit Floats(const RowLayout&) {}

  void take(const __m512i (&words)[2]) {
    low = plane_vector<std::uint16_t, 1>(words, 0);
    const __m512i from = _mm512_add_epi8(_mm512_loadu_si512(kPlaneBytes<2, 1>.from[0]), byte_of(1));
    high = _mm512_permutex2var_epi8(words[0], from, words[1]);
  }
  [[nodiscard]] __m512i symbols() const {
    constexpr int kFirstOrSecondUnderThird = 0xF8;  // a | (b & c)
    return _mm512_ternarylogic_epi64(_mm512_add_epi8(high, high), _mm512_srli_epi16(low, 7), byte_of(1),
                                     kFirstOrSecondUnderThird);
  }
  [[nodiscard]] __m512i plane(unsigned) const { return selected(byte_of(0x80), high, low); }
  [[nodiscard]] static bool are_sound() { return true; }

  __m512i low;   ///< bytes of words: the exponent's last bit, and the mantissa
  __m512i high;  ///< the sign, and the rest of the exponent
};

template <>
struct Floats<std::uint32_t> {
  explicit Floats(const RowLayout&) {}

  void take(const __m512i (&words)[4]) {
#pragma GCC unroll 4
    for (unsigned part = 0; part < 4; ++part) {
      shifted[part] = _mm512_srli_epi32(words[part], 23);
      field[part] = selected(_mm512_set1_epi32(1 << 23), _mm512_srli_epi32(words[part], 8), words[part]);
    }
  }
  [[nodiscard]] __m512i symbols() const { return low_bytes(shifted); }
  [[nodiscard]] __m512i plane(unsigned i) const { return plane_vector<std::uint32_t, 3>(field, i); }
  [[nodiscard]] static bool are_sound() { return true; }

  __m512i shifted[4];
  __m512i field[4];  ///< with bits above it
};

/// `split_row` of such words.
template <class Word, class Parts>
inline bool split_wide_fields(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols, std::byte* dst) {
  constexpr unsigned kFieldBytes = sizeof(Word) - 1;
  constexpr unsigned kWords = 64 / sizeof(Word);
  Parts parts(layout);
  // Stores what 64 words have, or fewer and zeros; words_of(part) is one of their vectors.
  const auto split = [&](std::uint64_t first, std::uint64_t count, auto words_of) __attribute__((always_inline)) {
    __m512i words[sizeof(Word)];
#pragma GCC unroll 4
    for (unsigned part = 0; part < sizeof(Word); ++part) words[part] = words_of(part);
    parts.take(words);
    _mm512_storeu_si512(symbols + first, parts.symbols());
#pragma GCC unroll 4
    for (unsigned i = 0; i < kFieldBytes; ++i) {
      if (64 * i < count * kFieldBytes) _mm512_storeu_si512(dst + first * kFieldBytes + 64 * i, parts.plane(i));
    }
  };
  std::uint64_t first = 0;
  for (; first + kLanes <= layout.num_columns; first += kLanes) {
    const std::byte* words = row + first * sizeof(Word);
    split(first, kLanes, [&](unsigned part) { return Lanes<Word>::load(words + 64 * part, AllLanes()); });
  }
  if (first < layout.num_columns) {
    const std::byte* words = row + first * sizeof(Word);
    const __mmask64 lanes = lanes_of(layout.num_columns - first);
    split(first, layout.num_columns - first,
          [&](unsigned part) { return Lanes<Word>::load(words + 64 * part, lanes >> (part * kWords)); });
  }
  return parts.are_sound();
}

template <class Word>
inline bool split_row_wide(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols, std::byte* dst) {
  if (layout.shape.fixed_bits == 8 * (sizeof(Word) - 1)) {
    const bool are_floats = layout.shape.symbol_bits == 8;
    return are_floats ? split_wide_fields<Word, Floats<Word>>(layout, row, symbols, dst)
                      : split_wide_fields<Word, WideFields<Word>>(layout, row, symbols, dst);
  }
  pack_fields<Word>(layout, row, dst);
  return split_symbols<Word>(layout, row, symbols);
}
template <>
inline bool split_row<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols,
                                     std::byte* dst) {
  return split_row_wide<std::uint16_t>(layout, row, symbols, dst);
}
template <>
inline bool split_row<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols,
                                     std::byte* dst) {
  return split_row_wide<std::uint32_t>(layout, row, symbols, dst);
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
