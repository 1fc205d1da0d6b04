// Stages of decoding by AVX2, for words of up to 4 bytes: 32 symbols at a time. Included by kernels_avx2.cpp.

/// 64 codes, a byte each.
struct BlockOfCodes {
  __m256i half[2];
};

/// Takes codes apart.
struct Codes {
  unsigned width;

  /// Codes of a block: the first 32 or the last 32.
  [[nodiscard]] __m256i half_block(const std::byte* src, unsigned half) const {
    const auto pair = [half](const std::byte* pairs) {
      const __m256i places = half == 0 ? _mm256_set_epi64x(2, 2, 0, 0) : _mm256_set_epi64x(6, 6, 4, 4);
      const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pairs)));
      return _mm256_and_si256(_mm256_srlv_epi64(both, places), byte_of(3));
    };
    const auto highest = [half, this](const std::byte* ones) {
      return _mm256_and_si256(lanes_of(load<std::uint32_t>(ones + 4 * half)), byte_of(1U << (width - 1)));
    };
    switch (width) {
      case 1:
        return highest(src);
      case 2:
        return pair(src);
      case 3:
        return _mm256_or_si256(pair(src), highest(src + 16));
      default:
        return _mm256_or_si256(pair(src), _mm256_slli_epi16(pair(src + 16), 2));
    }
  }
  [[nodiscard]] BlockOfCodes block(const std::byte* src) const { return {{half_block(src, 0), half_block(src, 1)}}; }
};

/// Takes codes apart that follow each other without gaps: four of them to the low end of each 32 bits, then two to that
/// of each 16, then one to each byte.
class CodesInTurn {
 public:
  explicit CodesInTurn(unsigned width)
      : half_bytes_(4 * width),
        to_second_pair_(_mm256_set1_epi32(static_cast<int>(16 - 2 * width))),
        to_second_code_(_mm256_set1_epi32(static_cast<int>(8 - width))),
        pair_mask_(_mm256_set1_epi16(static_cast<short>(low_mask(2 * width)))),
        code_mask_(byte_of(low_mask(width))) {
    const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    const __m256i bit = _mm256_mullo_epi32(lane, _mm256_set1_epi32(static_cast<int>(4 * width)));
    const __m256i two_bytes = _mm256_mullo_epi32(_mm256_srli_epi32(bit, 3), _mm256_set1_epi32(0x0101));
    from_byte_ = _mm256_or_si256(_mm256_add_epi32(two_bytes, _mm256_set1_epi32(0x0100)),
                                 _mm256_set1_epi32(static_cast<int>(0x80800000)));
    from_bit_ = _mm256_and_si256(bit, _mm256_set1_epi32(7));
  }

  [[nodiscard]] std::uint64_t block_bytes() const { return 2 * half_bytes_; }

  /// 64 codes, or fewer and others behind them.
  [[nodiscard]] BlockOfCodes block(const std::byte* src) const { return {{half(src), half(src + half_bytes_)}}; }

 private:
  [[nodiscard]] __m256i half(const std::byte* src) const {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
    const __m256i fours = _mm256_srlv_epi32(_mm256_shuffle_epi8(bytes, from_byte_), from_bit_);
    const __m256i pairs =
        _mm256_and_si256(_mm256_or_si256(fours, _mm256_sllv_epi32(fours, to_second_pair_)), pair_mask_);
    return _mm256_and_si256(_mm256_or_si256(pairs, _mm256_sllv_epi32(pairs, to_second_code_)), code_mask_);
  }

  std::uint64_t half_bytes_;
  __m256i to_second_pair_;
  __m256i to_second_code_;
  __m256i pair_mask_;
  __m256i code_mask_;
  __m256i from_byte_;
  __m256i from_bit_;
};

/// Which codes are the escape: bit i of the result is code i.
inline std::uint64_t escapes_among(const BlockOfCodes& codes) {
  const __m256i escape = _mm256_setzero_si256();
  return mask_of(_mm256_cmpeq_epi8(codes.half[0], escape)) |
         std::uint64_t{mask_of(_mm256_cmpeq_epi8(codes.half[1], escape))} << 32;
}

inline __m256i symbols_of_codes(const RowLayout& layout, unsigned tier) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier])));
}

/// Of a tier behind the first.
inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* src, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes) {
  const CodesInTurn codes(layout.tier_bits[tier]);
  const __m256i symbol_of_code = symbols_of_codes(layout, tier);
  std::uint64_t num_escapes = 0;
  const auto look_up = [&](std::uint64_t first, const BlockOfCodes& block, std::uint64_t lanes) {
    store_vector(symbols + first, _mm256_shuffle_epi8(symbol_of_code, block.half[0]));
    store_vector(symbols + first + kLanes, _mm256_shuffle_epi8(symbol_of_code, block.half[1]));
    const std::uint64_t found = escapes_among(block) & lanes;
    *escapes++ = found;
    num_escapes += count_of(found);
  };
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, src += codes.block_bytes())
    look_up(first, codes.block(src), ~std::uint64_t{0});
  if (first < count) look_up(first, codes.block(src), low_mask(static_cast<unsigned>(count - first)));
  return num_escapes;
}

/// `put_row` takes the codes apart, and counts them: only where no later tier says how many escapes there are they are
/// counted here, so that no more are taken than the row has.
inline std::uint64_t begin_first_tier(const RowLayout& layout, const RowParts& parts, const std::byte* src,
                                      std::uint8_t*, std::uint64_t*) {
  if (layout.num_tiers > 1) return parts.num_codes[1];
  const Codes codes{layout.tier_bits[0]};
  std::uint64_t left = layout.num_columns;
  std::uint64_t num_escapes = 0;
  for (; left >= kBlockCodes; left -= kBlockCodes, src += 8 * codes.width)
    num_escapes += count_of(escapes_among(codes.block(src)));
  if (left == 0) return num_escapes;
  const std::uint64_t found = escapes_among(CodesInTurn(codes.width).block(src));
  return num_escapes + count_of(found & low_mask(static_cast<unsigned>(left)));
}

/// Puts the bytes at `next`, in order, into the lanes of `is_escape`, where `symbols` must be 0, and moves `next`
/// behind them. Reads 32 bytes at most.
inline __m256i expand(__m256i symbols, __m256i is_escape, const std::uint8_t*& next) {
  const std::uint32_t found = mask_of(is_escape);
  const __m256i bytes = load_halves(next, next + count_of(found & 0xFFFF));
  next += count_of(found);
  // How many escapes there are up to each lane of 16, itself included: first in each 4 lanes, by a product whose bytes
  // are sums; then the sum of 4 lanes is added to the 4 behind them, and that of 8 lanes to the 8 behind them.
  const __m256i fourth = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0B0B0B0B, -1, 0x03030303, -1));
  const __m256i eighth = _mm256_broadcastsi128_si256(_mm_set_epi32(0x07070707, 0x07070707, -1, -1));
  // A compiler that knows the factor makes six operations of shifts and sums of the product: decoding takes 8 % longer.
  __m256i ones = byte_of(1);  // NOLINT(misc-const-correctness): may be changed below
  __asm__("" : "+x"(ones));
  __m256i sums = _mm256_mullo_epi32(_mm256_and_si256(is_escape, ones), ones);
  sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(sums, fourth));
  sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(sums, eighth));
  // The n-th escape takes byte n − 1. Other lanes get an index with the highest bit set, which shuffles to 0.
  const __m256i from_byte = _mm256_add_epi8(sums, _mm256_or_si256(is_escape, byte_of(0x80)));
  return _mm256_or_si256(symbols, _mm256_shuffle_epi8(bytes, from_byte));
}

inline void fill_escapes(const std::uint64_t* escapes, std::uint64_t count, const std::uint8_t* next,
                         std::uint8_t* symbols) {
  for (std::uint64_t first = 0; first < count; first += kBlockCodes) {
    const std::uint64_t found = *escapes++;
    for (unsigned half = 0; half < 2; ++half) {
      std::uint8_t* const dst = symbols + first + half * kLanes;
      store_vector(dst, expand(load_vector(dst), lanes_of(static_cast<std::uint32_t>(found >> (half * 32))), next));
    }
  }
}

/// How a row's words get their fixed fields: fields of whole bytes by a shuffle; others that are not too wide by a
/// shuffle and a shift in lanes of 32 bits; any by BMI2, once their symbols are in scratch memory.
enum class Join { kByteFields, kShiftedFields, kAny };

/// Fields that fit into 32 bits from any bit of a byte on: one of a word of 4 bytes, or two of words of 2 bytes, of
/// which the first is at an even bit.
template <class Word>
constexpr unsigned kMaxShiftedBits = sizeof(Word) == 4 ? 25 : 13;

template <class Word>
inline Join join_for(const RowLayout& layout) {
  if constexpr (sizeof(Word) == 1) {
    return Join::kAny;
  } else {
    if (layout.unpacks_sign && layout.unpacking.is_whole_bytes) return Join::kByteFields;
    return layout.shape.fixed_bits <= kMaxShiftedBits<Word> ? Join::kShiftedFields : Join::kAny;
  }
}

/// Takes the fixed fields of 32 bytes of words at a time out of their plane, to their places in the words.
template <class Word, Join kJoin>
struct Fields;

/// The only fields of whole bytes in words of 2 bytes have 1 byte: all 16 come by one load.
template <>
struct Fields<std::uint16_t, Join::kByteFields> {
  explicit Fields(const RowLayout& layout)
      : from_byte(load_vector(layout.unpacking.from_byte)), mask(Lanes<std::uint16_t>::set(layout.unpacked_mask)) {}

  [[nodiscard]] __m256i take(const std::byte* fixed) const {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(fixed)));
    return _mm256_and_si256(_mm256_shuffle_epi8(bytes, from_byte), mask);
  }

  __m256i from_byte;
  __m256i mask;
};

template <>
struct Fields<std::uint32_t, Join::kByteFields> {
  explicit Fields(const RowLayout& layout)
      : next_half(layout.unpacking.plane_bytes / 4),
        from_byte(
            _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.unpacking.from_byte)))),
        mask(Lanes<std::uint32_t>::set(layout.unpacked_mask)) {}

  [[nodiscard]] __m256i take(const std::byte* fixed) const {
    return _mm256_and_si256(_mm256_shuffle_epi8(load_halves(fixed, fixed + next_half), from_byte), mask);
  }

  std::uint64_t next_half;
  __m256i from_byte;
  __m256i mask;
};

template <class Word>
struct Fields<Word, Join::kShiftedFields> {
  explicit Fields(const RowLayout& layout)
      : rest_mask(Lanes<Word>::set(layout.shape.rest_mask << layout.shape.dropped_bits)),
        sign_mask(Lanes<Word>::set(layout.shape.sign_mask)),
        dropped_bits(shift_count(layout.shape.dropped_bits)),
        sign_shift(shift_count(layout.shape.sign_shift)),
        next_half(layout.shape.fixed_bits * (16 / sizeof(Word)) / 8) {
    // Lane i's fields begin at bit i × lane_bits: of the plane, or of what the upper half is loaded from.
    const unsigned lane_bits = layout.shape.fixed_bits * (4 / sizeof(Word));
    const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    const __m256i half_bits = _mm256_set_epi64x(-1, -1, 0, 0);
    const __m256i half_at = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(8 * next_half)), half_bits);
    const __m256i bit =
        _mm256_sub_epi32(_mm256_mullo_epi32(lane, _mm256_set1_epi32(static_cast<int>(lane_bits))), half_at);
    const __m256i byte = _mm256_mullo_epi32(_mm256_srli_epi32(bit, 3), _mm256_set1_epi32(0x01010101));
    from_byte = _mm256_add_epi8(byte, _mm256_set1_epi32(0x03020100));
    from_bit = _mm256_and_si256(bit, _mm256_set1_epi32(7));
    second = shift_count(16 - lane_bits / 2);
    first_word = _mm256_set1_epi32(static_cast<int>(low_mask(lane_bits / 2)));
  }

  [[nodiscard]] __m256i take(const std::byte* fixed) const {
    const __m256i bytes = _mm256_shuffle_epi8(load_halves(fixed, fixed + next_half), from_byte);
    __m256i field = _mm256_srlv_epi32(bytes, from_bit);  // NOLINT(misc-const-correctness): changed for words of 2 bytes
    if constexpr (sizeof(Word) == 2) {
      // The second word's field follows the first one's: what is above each is masked below.
      const __m256i moved = _mm256_sll_epi32(_mm256_andnot_si256(first_word, field), second);
      field = _mm256_or_si256(_mm256_and_si256(field, first_word), moved);
    }
    const __m256i rest = _mm256_and_si256(Lanes<Word>::shift_left(field, dropped_bits), rest_mask);
    return _mm256_or_si256(rest, _mm256_and_si256(Lanes<Word>::shift_left(field, sign_shift), sign_mask));
  }

  __m256i rest_mask;
  __m256i sign_mask;
  __m256i from_byte;
  __m256i from_bit;
  __m256i first_word;
  __m128i dropped_bits;
  __m128i sign_shift;
  __m128i second;
  std::uint64_t next_half;
};

/// Writes the symbols to scratch memory, whole vectors of them, where `join_fields` finds them.
struct SymbolWriter {
  using Out = std::uint8_t;

  SymbolWriter(const RowLayout&, const std::byte*, Out* symbols) : dst(symbols) {}

  void put(__m256i symbol, std::uint64_t) {
    store_vector(dst, symbol);
    dst += kLanes;
  }

  Out* dst;
};

/// Joins symbols to their fixed fields, and writes the words; past the caches where that is wanted.
template <class Word, bool kPastCaches, Join kJoin>
struct WordWriter {
  using Out = std::byte;
  static constexpr unsigned kWords = 32 / sizeof(Word);

  WordWriter(const RowLayout& layout, const std::byte* src, Out* words)
      : fields(layout),
        symbol_at(Lanes<Word>::shift_to(layout.shape.symbol_at)),
        field_bytes(kWords * std::uint64_t{layout.shape.fixed_bits} / 8),
        fixed(src),
        dst(words) {}

  /// The words of `symbol`, but not more than `left` of them.
  __attribute__((always_inline)) void put(__m256i symbol, std::uint64_t left) {
#pragma GCC unroll 4
    for (unsigned part = 0; part < sizeof(Word); ++part) {
      if (left <= part * kWords) return;
      const __m256i placed = Lanes<Word>::shift(Lanes<Word>::widen(symbol, part), symbol_at);
      const __m256i word = _mm256_or_si256(fields.take(fixed), placed);
      fixed += field_bytes;
      if (left < (part + 1) * kWords) {
        Word some[kWords];
        store_vector(some, word);
        __builtin_memcpy(dst, some, left % kWords * sizeof(Word));
        return;
      }
      put_vector<kPastCaches>(dst, word);
      dst += 32;
    }
  }

  Fields<Word, kJoin> fields;
  __m256i symbol_at;
  std::uint64_t field_bytes;
  const std::byte* fixed;
  Out* dst;
};

/// Gives a writer the symbols of all columns, 32 at a time: what the first tier's codes stand for, the escapes filled
/// from `next`, and the shifts added. Returns how many escapes there are.
template <bool kHasShifts, unsigned kWidth, class Writer>
inline std::uint64_t put_symbols(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift,
                                 const std::uint8_t* next, typename Writer::Out* dst) {
  const std::uint8_t* const first_escape = next;
  Writer writer(layout, fixed, dst);
  const std::byte* src = fixed + layout.fixed_bytes;
  const Codes codes{kWidth};
  const __m256i symbol_of_code = symbols_of_codes(layout, 0);
  const __m256i symbol_mask = byte_of(layout.shape.symbol_mask);
  const __m256i row_shift = byte_of(shift);
  const std::byte* column_shifts = layout.column_shifts;
  const auto symbols_of = [&](__m256i code) {
    const __m256i is_escape = _mm256_cmpeq_epi8(code, _mm256_setzero_si256());
    // NOLINTNEXTLINE(misc-const-correctness): changed where there are shifts
    __m256i symbol = expand(_mm256_shuffle_epi8(symbol_of_code, code), is_escape, next);
    if constexpr (kHasShifts) {
      symbol = _mm256_add_epi8(symbol, row_shift);
      if (column_shifts != nullptr) {
        symbol = _mm256_add_epi8(symbol, load_vector(column_shifts));
        column_shifts += kLanes;
      }
    }
    return _mm256_and_si256(symbol, symbol_mask);
  };
  std::uint64_t left = layout.num_columns;
  for (; left >= kBlockCodes; left -= kBlockCodes, src += 8 * kWidth) {
    const BlockOfCodes block = codes.block(src);
    writer.put(symbols_of(block.half[0]), kLanes);
    writer.put(symbols_of(block.half[1]), kLanes);
  }
  const auto num_in_blocks = static_cast<std::uint64_t>(next - first_escape);
  if (left == 0) return num_in_blocks;
  // Escapes behind the last column take symbols that do not matter.
  const BlockOfCodes rest = CodesInTurn(kWidth).block(src);
  writer.put(symbols_of(rest.half[0]), left < kLanes ? left : kLanes);
  if (left > kLanes) writer.put(symbols_of(rest.half[1]), left - kLanes);
  return num_in_blocks + count_of(escapes_among(rest) & low_mask(static_cast<unsigned>(left)));
}

template <bool kHasShifts, class Writer>
inline std::uint64_t put_symbols(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift,
                                 const std::uint8_t* next, typename Writer::Out* dst) {
  using PutSymbols =
      std::uint64_t(const RowLayout&, const std::byte*, std::uint8_t, const std::uint8_t*, typename Writer::Out*);
  constexpr PutSymbols* kOfWidth[] = {put_symbols<kHasShifts, 1, Writer>, put_symbols<kHasShifts, 2, Writer>,
                                      put_symbols<kHasShifts, 3, Writer>, put_symbols<kHasShifts, 4, Writer>};
  return kOfWidth[layout.tier_bits[0] - 1](layout, fixed, shift, next, dst);
}

template <class Writer>
inline std::uint64_t put_symbols(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift,
                                 const std::uint8_t* next, typename Writer::Out* dst) {
  const bool has_shifts = shift != 0 || layout.column_shifts != nullptr;
  return has_shifts ? put_symbols<true, Writer>(layout, fixed, shift, next, dst)
                    : put_symbols<false, Writer>(layout, fixed, shift, next, dst);
}

/// Returns how many of the first tier's codes are the escape.
template <class Word, bool kPastCaches>
inline std::uint64_t put_words(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift,
                               std::uint8_t* symbols, const std::uint8_t* next, std::byte* dst) {
  // Words of two bytes gain nothing where each line is put together from two vectors (Zen 4, 2026-11-22).
  constexpr std::uintptr_t kAlignment = sizeof(Word) == 4 ? kStreamedBytes : 64;
  if (kPastCaches && !can_pass_caches<kAlignment>(dst))
    return put_words<Word, false>(layout, fixed, shift, symbols, next, dst);
  const Join join = join_for<Word>(layout);
  if constexpr (sizeof(Word) > 1) {
    if (join == Join::kByteFields)
      return put_symbols<WordWriter<Word, kPastCaches, Join::kByteFields>>(layout, fixed, shift, next, dst);
    if (join == Join::kShiftedFields)
      return put_symbols<WordWriter<Word, kPastCaches, Join::kShiftedFields>>(layout, fixed, shift, next, dst);
  }
  const std::uint64_t num_escapes = put_symbols<SymbolWriter>(layout, fixed, shift, next, symbols);
  join_fields<Word>(layout, fixed, symbols, dst);
  return num_escapes;
}
