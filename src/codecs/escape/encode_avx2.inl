// Stages of encoding by AVX2, for words of up to 4 bytes: 32 symbols at a time. Included by kernels_avx2.cpp.

/// The low bytes of words, which have nothing in their other bytes: of 32 words, in order.
inline __m256i low_bytes(const __m256i (&words)[2]) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi16(words[0], words[1]), 0xD8);
}
inline __m256i low_bytes(const __m256i (&words)[4]) {
  const __m256i packed =
      _mm256_packus_epi16(_mm256_packus_epi32(words[0], words[1]), _mm256_packus_epi32(words[2], words[3]));
  return _mm256_permutevar8x32_epi32(packed, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
}

template <class Word>
inline bool split_symbols_wide(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  const __m256i mask = Lanes<Word>::set(layout.shape.symbol_mask);
  const __m128i symbol_at = shift_count(layout.shape.symbol_at);
  __m256i all = _mm256_setzero_si256();
  std::uint64_t first = 0;
  for (; first + kLanes <= layout.num_columns; first += kLanes) {
    __m256i words[sizeof(Word)];
    for (unsigned part = 0; part < sizeof(Word); ++part) {
      const __m256i word = load_vector(row + first * sizeof(Word) + 32 * part);
      all = _mm256_or_si256(all, word);
      words[part] = _mm256_and_si256(Lanes<Word>::shift_right(word, symbol_at), mask);
    }
    store_vector(symbols + first, low_bytes(words));
  }
  Word rest = 0;
  for (; first < layout.num_columns; ++first) {
    const Word word = load<Word>(row + first * sizeof(Word));
    rest = static_cast<Word>(rest | word);
    symbols[first] = static_cast<std::uint8_t>(symbol_of(layout.shape, word));
  }
  return _mm256_testz_si256(all, Lanes<Word>::set(layout.shape.forbidden)) != 0 && (rest & layout.shape.forbidden) == 0;
}

template <>
inline bool split_symbols<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint16_t>(layout, row, symbols);
}
template <>
inline bool split_symbols<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint32_t>(layout, row, symbols);
}

/// 32 symbols, made ready to be looked for in sets.
struct Sought {
  explicit Sought(__m256i symbols) : low(symbols), high(_mm256_xor_si256(symbols, byte_of(0x80))) {
    const __m256i bit_of = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201U));
    const __m256i high_half = _mm256_and_si256(_mm256_srli_epi16(symbols, 4), byte_of(0x0F));
    bit = _mm256_shuffle_epi8(bit_of, high_half);
  }

  /// Where a shuffle's index has the highest bit set the result is 0: each symbol is looked up in its half of the set.
  [[nodiscard]] __m256i in(const SymbolSet& set) const {
    const __m256i bits_low = _mm256_shuffle_epi8(half(set.bits[0]), low);
    const __m256i bits_high = _mm256_shuffle_epi8(half(set.bits[1]), high);
    return _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_or_si256(bits_low, bits_high), bit), bit);
  }

  static __m256i half(const std::uint8_t* bits) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bits)));
  }

  __m256i low;
  __m256i high;
  __m256i bit;
};

template <unsigned kNumTiers>
inline void count_beyond_tiers(const RowLayout& layout, const std::uint8_t* symbols, std::uint64_t shift,
                               std::uint64_t* num_beyond) {
  const SymbolSets sets = *layout.symbol_sets;
  const __m256i mask = byte_of(layout.shape.symbol_mask);
  const __m256i by = byte_of(shift);
  std::uint64_t num_in[kNumTiers] = {};
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    const std::uint64_t left = layout.num_columns - first;
    const std::uint64_t lanes = left >= kLanes ? low_mask(kLanes) : low_mask(static_cast<unsigned>(left));
    const Sought sought(_mm256_and_si256(_mm256_sub_epi8(load_vector(symbols + first), by), mask));
    for (unsigned i = 0; i < kNumTiers; ++i) num_in[i] += count_of(mask_of(sought.in(sets.in_tiers_up_to[i])) & lanes);
  }
  for (unsigned i = 0; i < kNumTiers; ++i) num_beyond[i] = layout.num_columns - num_in[i];
}

inline void count_beyond(const RowLayout& layout, const std::uint8_t* symbols, std::uint64_t shift,
                         std::uint64_t* num_beyond) {
  switch (layout.num_tiers) {
    case 1:
      return count_beyond_tiers<1>(layout, symbols, shift, num_beyond);
    case 2:
      return count_beyond_tiers<2>(layout, symbols, shift, num_beyond);
    default:
      return count_beyond_tiers<3>(layout, symbols, shift, num_beyond);
  }
}

/// For each mask of 8 lanes the shuffle that brings the lanes whose bits are set to the front.
struct FrontShuffles {
  std::uint64_t of_mask[256] = {};

  constexpr FrontShuffles() {
    for (unsigned mask = 0; mask < 256; ++mask) {
      unsigned num_bits = 0;
      for (unsigned lane = 0; lane < 8; ++lane) {
        if ((mask >> lane & 1) != 0) of_mask[mask] |= std::uint64_t{lane} << (8 * num_bits++);
      }
    }
  }
};
constexpr FrontShuffles kFrontShuffles;

/// Moves those of 64 symbols whose bits are set to `dst`, in order. Returns what is behind them; 8 bytes there may be
/// written.
inline std::uint8_t* move_found(const std::uint8_t* symbols, std::uint64_t found, std::uint8_t* dst) {
  for (unsigned i = 0; i < 8; ++i) {
    const std::uint64_t mask = found >> (8 * i) & 0xFF;
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(symbols + 8 * i));
    const __m128i from = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(&kFrontShuffles.of_mask[mask]));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(dst), _mm_shuffle_epi8(eight, from));
    dst += count_of(mask);
  }
  return dst;
}

/// Codes of 64 symbols in one tier: which lanes have which bit.
template <unsigned kWidth>
struct CodesOf {
  __m256i has_bit[kWidth][2];

  CodesOf(const SymbolSet* with_code_bit, const std::uint8_t* symbols) {
    for (unsigned half = 0; half < 2; ++half) {
      const Sought sought(load_vector(symbols + half * kLanes));
      for (unsigned bit = 0; bit < kWidth; ++bit) has_bit[bit][half] = sought.in(with_code_bit[bit]);
    }
  }

  [[nodiscard]] std::uint64_t escapes() const {
    __m256i any[2];
    for (unsigned half = 0; half < 2; ++half) {
      any[half] = has_bit[0][half];
      for (unsigned bit = 1; bit < kWidth; ++bit) any[half] = _mm256_or_si256(any[half], has_bit[bit][half]);
    }
    return ~lanes_with(any);
  }

  static std::uint64_t lanes_with(const __m256i (&lanes)[2]) {
    return mask_of(lanes[0]) | std::uint64_t{mask_of(lanes[1])} << 32;
  }

  /// Bits `bit` and `bit` + 1 of 32 codes.
  [[nodiscard]] __m256i pair(unsigned bit, unsigned half) const {
    return _mm256_or_si256(_mm256_and_si256(has_bit[bit][half], byte_of(1)),
                           _mm256_and_si256(has_bit[bit + 1][half], byte_of(2)));
  }

  void store_block(std::byte* block) const {
    for (unsigned bit = 0; bit + 2 <= kWidth; bit += 2, block += 16) {
      const __m256i pairs = _mm256_or_si256(pair(bit, 0), _mm256_slli_epi16(pair(bit, 1), 4));
      const __m128i high = _mm_slli_epi16(_mm256_extracti128_si256(pairs, 1), 2);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(block), _mm_or_si128(_mm256_castsi256_si128(pairs), high));
    }
    if constexpr (kWidth % 2 != 0) store(block, lanes_with(has_bit[kWidth - 1]));
  }

  /// The first `count` codes, without gaps.
  void store_in_turn(std::byte* dst, std::uint64_t count) const {
    const std::uint64_t lanes = count < kBlockCodes ? low_mask(static_cast<unsigned>(count)) : ~std::uint64_t{0};
    std::uint64_t bits[kWidth];
    for (unsigned bit = 0; bit < kWidth; ++bit) bits[bit] = lanes_with(has_bit[bit]) & lanes;
    for (unsigned i = 0; 8 * i < count; ++i) {
      std::uint64_t codes = 0;
      for (unsigned bit = 0; bit < kWidth; ++bit)
        codes |= _pdep_u64(bits[bit] >> (8 * i), in_each_field(kWidth) << bit);
      store(dst + i * kWidth, codes);
    }
  }

  /// The lowest bit of each of eight fields.
  static constexpr std::uint64_t in_each_field(unsigned field_bits) {
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < 8; ++i) bits |= std::uint64_t{1} << (i * field_bits);
    return bits;
  }
};

template <unsigned kWidth>
inline std::uint64_t encode_tier_of(const SymbolSet* with_code_bit, bool in_blocks, const std::uint8_t* symbols,
                                    std::uint64_t count, std::byte* codes, std::uint8_t* beyond) {
  SymbolSet sets[kWidth];
  for (unsigned bit = 0; bit < kWidth; ++bit) sets[bit] = with_code_bit[bit];
  std::uint8_t* next = beyond;
  for (; count >= kBlockCodes; count -= kBlockCodes, symbols += kBlockCodes, codes += 8 * kWidth) {
    const CodesOf<kWidth> block(sets, symbols);
    in_blocks ? block.store_block(codes) : block.store_in_turn(codes, kBlockCodes);
    next = move_found(symbols, block.escapes(), next);
  }
  if (count > 0) {
    const CodesOf<kWidth> rest(sets, symbols);
    rest.store_in_turn(codes, count);
    next = move_found(symbols, rest.escapes() & low_mask(static_cast<unsigned>(count)), next);
  }
  return static_cast<std::uint64_t>(next - beyond);
}

inline std::uint64_t encode_tier(const RowLayout& layout, unsigned tier, const std::uint8_t* symbols,
                                 std::uint64_t count, std::byte* codes, std::uint8_t* beyond) {
  const SymbolSet* with_code_bit = layout.symbol_sets->with_code_bit[tier];
  switch (layout.tier_bits[tier]) {
    case 1:
      return encode_tier_of<1>(with_code_bit, tier == 0, symbols, count, codes, beyond);
    case 2:
      return encode_tier_of<2>(with_code_bit, tier == 0, symbols, count, codes, beyond);
    case 3:
      return encode_tier_of<3>(with_code_bit, tier == 0, symbols, count, codes, beyond);
    default:
      return encode_tier_of<4>(with_code_bit, tier == 0, symbols, count, codes, beyond);
  }
}

/// The fields of 32 bytes of words, at the words' low ends.
template <class Word>
struct LowFields {
  explicit LowFields(const WordShape& shape)
      : rest_mask(Lanes<Word>::set(shape.rest_mask)),
        sign_mask(Lanes<Word>::set(shape.sign_mask >> shape.sign_shift)),
        dropped_bits(shift_count(shape.dropped_bits)),
        sign_shift(shift_count(shape.sign_shift)) {}

  [[nodiscard]] __m256i of(const std::byte* src) const {
    const __m256i words = load_vector(src);
    const __m256i rest = _mm256_and_si256(Lanes<Word>::shift_right(words, dropped_bits), rest_mask);
    return _mm256_or_si256(rest, _mm256_and_si256(Lanes<Word>::shift_right(words, sign_shift), sign_mask));
  }

  __m256i rest_mask;
  __m256i sign_mask;
  __m128i dropped_bits;
  __m128i sign_shift;
};

/// Packs fields that `pack_fields` finds to be whole bytes: those of 32 columns at a time. Returns how many columns
/// that were.
inline std::uint64_t pack_byte_fields(const LowFields<std::uint16_t>& fields, std::uint64_t num_columns, unsigned,
                                      const std::byte* row, std::byte* dst) {
  std::uint64_t first = 0;
  for (; first + kLanes <= num_columns; first += kLanes, row += 64)
    store_vector(dst + first, low_bytes({fields.of(row), fields.of(row + 32)}));
  return first;
}
inline std::uint64_t pack_byte_fields(const LowFields<std::uint32_t>& fields, std::uint64_t num_columns,
                                      unsigned field_bytes, const std::byte* row, std::byte* dst) {
  const __m128i from_byte[] = {_mm_set_epi32(-1, -1, -1, 0x0C080400), _mm_set_epi32(-1, -1, 0x0D0C0908, 0x05040100),
                               _mm_set_epi32(-1, 0x0E0D0C0A, 0x09080605, 0x04020100)};
  const __m256i to_front = _mm256_broadcastsi128_si256(from_byte[field_bytes - 1]);
  std::uint64_t first = 0;
  for (; first + 8 <= num_columns; first += 8, row += 32) {
    // What a store writes too much the next one, or what follows the fields, writes again.
    const __m256i packed = _mm256_shuffle_epi8(fields.of(row), to_front);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm256_castsi256_si128(packed));
    dst += 4 * std::size_t{field_bytes};
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm256_extracti128_si256(packed, 1));
    dst += 4 * std::size_t{field_bytes};
  }
  return first;
}

template <class Word>
inline void pack_fields_wide(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const unsigned field_bits = layout.shape.fixed_bits;
  std::uint64_t first = 0;
  if (field_bits % 8 == 0 && field_bits > 0) {
    const LowFields<Word> fields(layout.shape);
    first = pack_byte_fields(fields, layout.num_columns, field_bits / 8, row, dst);
  }
  extract_fields<Word>(row + first * sizeof(Word), layout.num_columns - first, field_place(layout.shape), field_bits,
                       dst + first * field_bits / 8);
}

template <>
inline void pack_fields<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  pack_fields_wide<std::uint16_t>(layout, row, dst);
}
template <>
inline void pack_fields<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  pack_fields_wide<std::uint32_t>(layout, row, dst);
}
