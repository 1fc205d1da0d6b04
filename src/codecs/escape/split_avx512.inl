// How words of up to 4 bytes are taken apart into symbols and fixed fields by AVX-512, 64 at a time. Included by
// kernels_avx512.cpp.

template <class Word>
inline bool split_symbols_wide(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  const __m512i mask = byte_of(layout.shape.symbol_mask);
  const __m512i symbol_at = Lanes<Word>::set_count(layout.shape.symbol_at);
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

/// The fields of 64 bytes of words, at the words' low ends.
template <class Word>
struct LowFields {
  explicit LowFields(const WordShape& shape)
      : rest_mask(Lanes<Word>::set(shape.rest_mask)),
        sign_mask(Lanes<Word>::set(shape.sign_mask >> shape.sign_shift)),
        dropped_bits(Lanes<Word>::set_count(shape.dropped_bits)),
        sign_shift(Lanes<Word>::set_count(shape.sign_shift)) {}

  [[nodiscard]] __m512i of(__m512i words) const {
    const __m512i rest = _mm512_and_si512(Lanes<Word>::shift_right(words, dropped_bits), rest_mask);
    const __m512i sign = _mm512_and_si512(Lanes<Word>::shift_right(words, sign_shift), sign_mask);
    return _mm512_or_si512(rest, sign);
  }

  __m512i rest_mask;
  __m512i sign_mask;
  __m512i dropped_bits;
  __m512i sign_shift;
};

/// The narrowest fields are packed by BMI2.
template <class Word>
inline void pack_fields_wide(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  if (layout.packing == nullptr)
    return extract_fields<Word>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
  const LowFields<Word> fields(layout.shape);
  const FieldPacker<Word> packer(*layout.packing, layout.shape.fixed_bits, 0);
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    for_each_vector<Word>(first, layout.num_columns, [&](unsigned, std::uint64_t offset, auto lanes) {
      _mm512_storeu_si512(dst, packer.pack(fields.of(Lanes<Word>::load(row + offset, lanes))));
      dst += layout.unpacking.plane_bytes;
    });
  }
}

template <>
inline void pack_fields<std::uint8_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  pack_fields_wide<std::uint8_t>(layout, row, dst);
}
template <>
inline void pack_fields<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  pack_fields_wide<std::uint16_t>(layout, row, dst);
}
template <>
inline void pack_fields<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  pack_fields_wide<std::uint32_t>(layout, row, dst);
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
        symbol_at(Lanes<Word>::set_count(layout.shape.symbol_at)),
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
  __m512i symbol_at;
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
