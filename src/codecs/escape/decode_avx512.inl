// Stages of decoding by AVX-512, for words of up to 4 bytes: 64 symbols at a time. Included by kernels_avx512.cpp.

/// Takes codes apart.
struct Codes {
  unsigned width;
  __m512i two_bits = byte_of(3);
  __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);

  [[nodiscard]] __m512i pair(const std::byte* src) const {
    const __m512i pairs = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
    return _mm512_and_si512(_mm512_srlv_epi64(pairs, places), two_bits);
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
    const __m512i group =
        _mm512_set_epi64(0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
                         0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m512i lane = _mm512_set1_epi64(0x0706050403020100);
    const __m512i scale = _mm512_set1_epi16(static_cast<short>(width));
    const __m512i from_byte = _mm512_add_epi8(_mm512_mullo_epi16(group, scale), lane);
    const __m512i groups = _mm512_permutexvar_epi8(from_byte, bytes);
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(_mm512_mullo_epi16(lane, scale), groups),
                            byte_of(low_mask(width)));
  }
};

inline __m512i symbols_of_codes(const RowLayout& layout, unsigned tier) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier])));
}

inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* src, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes) {
  const Codes codes{layout.tier_bits[tier]};
  const __m512i symbol_of_code = symbols_of_codes(layout, tier);
  std::uint64_t num_escapes = 0;
  const auto look_up = [&](std::uint64_t first, __m512i code) -> __mmask64 {
    _mm512_storeu_si512(symbols + first, _mm512_shuffle_epi8(symbol_of_code, code));
    return _mm512_testn_epi8_mask(code, code);
  };
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, src += 8 * codes.width) {
    const __mmask64 found = look_up(first, codes.block(src));
    *escapes++ = found;
    num_escapes += count_of(found);
  }
  if (first < count) {
    const __mmask64 found = look_up(first, codes.rest(src)) & lanes_of(count - first);
    *escapes = found;
    num_escapes += count_of(found);
  }
  return num_escapes;
}

/// Only counts: `end_first_tier` takes the codes apart again, which costs less than to store and load what they stand
/// for. The commonest width, 2 bits, is counted without taking anything apart.
inline std::uint64_t begin_first_tier(const RowLayout& layout, const std::byte* src, std::uint8_t*, std::uint64_t*) {
  const Codes codes{layout.tier_bits[0]};
  std::uint64_t left = layout.num_columns;
  std::uint64_t num_escapes = 0;
  if (codes.width == 2) {
    constexpr unsigned kCodes = 256;
    const __m512i low_bits = byte_of(0x55);
    __m512i sums = _mm512_setzero_si512();
    for (; left >= kCodes; left -= kCodes, src += 64) {
      const __m512i two_bits = _mm512_loadu_si512(src);
      constexpr int kThirdButNotFirstOrSecond = 0x02;
      const __m512i zeros =
          _mm512_ternarylogic_epi64(two_bits, _mm512_srli_epi64(two_bits, 1), low_bits, kThirdButNotFirstOrSecond);
      sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(zeros));
    }
    num_escapes = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums));
  }
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

/// Puts the bytes at `next`, in order, into the lanes that were found. The load is kept apart from the expansion: as
/// one instruction they take several times as long (AMD Zen 4).
inline __m512i expand(__m512i symbols, __mmask64 found, const std::uint8_t* next) {
  __m512i bytes = _mm512_loadu_si512(next);  // NOLINT(misc-const-correctness): may be changed below
  __asm__("" : "+v"(bytes));
  return _mm512_mask_expand_epi8(symbols, found, bytes);
}

inline void fill_escapes(const std::uint64_t* escapes, std::uint64_t count, const std::uint8_t* next,
                         std::uint8_t* symbols) {
  for (std::uint64_t first = 0; first < count; first += kLanes) {
    const __mmask64 found = *escapes++;
    _mm512_storeu_si512(symbols + first, expand(_mm512_loadu_si512(symbols + first), found, next));
    next += count_of(found);
  }
}

/// The symbols of the first tier's escapes, where they lie in memory.
class SymbolsInMemory {
 public:
  using From = const std::uint8_t*;

  bool begin(const RowLayout&, const StoredBytes&, From from) {
    next_ = from;
    return true;
  }

  /// Puts the next symbols, in order, into the lanes that were found.
  __m512i fill(__m512i symbols, __mmask64 found) {
    const __m512i filled = expand(symbols, found, next_);
    next_ += count_of(found);
    return filled;
  }

 private:
  const std::uint8_t* next_ = nullptr;
};

/// The same where these are few: decoded when the row is begun, and kept in registers. To load from where several
/// vectors have just been stored takes longer than to expand a short row.
class SymbolsInRegisters {
 public:
  static constexpr std::uint64_t kMost = 2 * kLanes;

  /// Where the codes of the second tier are, and how many.
  struct From {
    const std::byte* codes;
    std::uint64_t count;
  };

  /// False when they reach beyond the row.
  __attribute__((always_inline)) bool begin(const RowLayout& layout, const StoredBytes& row, const From& from) {
    return take<1>(layout, row, from.codes, from.count);
  }

  __attribute__((always_inline)) __m512i fill(__m512i symbols, __mmask64 found) {
    const __m512i from_byte = _mm512_add_epi8(lane_numbers(), byte_of(num_taken_));
    num_taken_ += count_of(found);
    return _mm512_mask_expand_epi8(symbols, found, _mm512_permutex2var_epi8(low_, from_byte, high_));
  }

 private:
  /// Takes the symbols of `count` codes of tier kTier, or those written out, behind the last tier.
  template <unsigned kTier>
  __attribute__((always_inline)) bool take(const RowLayout& layout, const StoredBytes& row, const std::byte* src,
                                           std::uint64_t count) {
    const auto left = static_cast<std::uint64_t>(row.end - src);
    const bool has_high = count > kLanes;
    if (kTier == kMaxTiers || kTier == layout.num_tiers) {
      if (count > left) return false;
      low_ = row.load_last(src);
      if (has_high) high_ = row.load_last(src + kLanes);
      return true;
    }
    if constexpr (kTier < kMaxTiers) {
      const Codes codes{layout.tier_bits[kTier]};
      const __m512i symbol_of_code = symbols_of_codes(layout, kTier);
      const std::uint64_t plane_bytes = (count * codes.width + 7) / 8;
      if (plane_bytes > left) return false;
      const auto codes_at = [&](const std::byte* at, std::uint64_t num_codes) {
        return num_codes >= kBlockCodes ? codes.block(at) : codes.rest(row.load_last(at));
      };
      const __m512i low = codes_at(src, count);
      const __mmask64 low_found = _mm512_mask_testn_epi8_mask(lanes_of(count), low, low);
      __m512i high = _mm512_setzero_si512();
      __mmask64 high_found = 0;
      if (has_high) {
        high = codes_at(src + kBlockCodes / 8 * codes.width, count - kLanes);
        high_found = _mm512_mask_testn_epi8_mask(lanes_of(count - kLanes), high, high);
      }
      SymbolsInRegisters next;
      if (!next.take<kTier + 1>(layout, row, src + plane_bytes, count_of(low_found) + count_of(high_found)))
        return false;
      low_ = next.fill(_mm512_shuffle_epi8(symbol_of_code, low), low_found);
      if (has_high) high_ = next.fill(_mm512_shuffle_epi8(symbol_of_code, high), high_found);
    }
    return true;
  }

  __m512i low_ = _mm512_setzero_si512();
  __m512i high_ = _mm512_setzero_si512();
  std::uint64_t num_taken_ = 0;
};

/// What a row of this layout needs of `join_words`.
enum class Join { kByteFields, kSignInPlace, kAny };

/// Puts a row together, as a Writer writes it, with the Symbols of its escapes. False when it is malformed.
template <class Word, class Writer, class Symbols, Join kJoin, bool kHasShifts, unsigned kWidth>
inline bool join_words(const RowLayout& layout, const StoredBytes& row, std::uint8_t shift,
                       const typename Symbols::From& from, std::byte* dst) {
  Symbols next;
  if (!next.begin(layout, row, from)) return false;
  Writer writer(dst);
  const fields::FieldUnpacking& unpacking = layout.unpacking;
  const __m512i symbol_of_code = symbols_of_codes(layout, 0);
  const Codes codes{kWidth};
  const __m512i from_byte = _mm512_loadu_si512(unpacking.from_byte);
  const __m512i from_bit = _mm512_loadu_si512(unpacking.from_bit);
  const __m512i fixed_mask = Lanes<Word>::set(layout.unpacked_mask);
  const __m512i sign_mask = Lanes<Word>::set(layout.shape.sign_mask);
  const __m128i symbol_at = shift_count(layout.shape.symbol_at);
  const __m128i sign_shift = shift_count(layout.shape.symbol_bits);
  const __m512i symbol_mask = byte_of(layout.shape.symbol_mask);
  const __m512i row_shift = byte_of(shift);
  const std::uint64_t plane_bytes = unpacking.plane_bytes;
  const std::byte* column_shifts = layout.column_shifts;
  const std::uint64_t num_columns = layout.num_columns;
  const std::byte* fixed = row.begin;
  const std::byte* src = fixed + layout.fixed_bytes;
  for (std::uint64_t first = 0; first < num_columns; first += kLanes, src += 8 * codes.width) {
    const __m512i code = num_columns - first >= kBlockCodes ? codes.block(src) : codes.rest(row.load_last(src));
    // Escapes behind the last column take symbols that do not matter.
    const __mmask64 found = _mm512_testn_epi8_mask(code, code);
    __m512i symbol = next.fill(_mm512_shuffle_epi8(symbol_of_code, code), found);
    if constexpr (kHasShifts) {
      symbol = _mm512_add_epi8(symbol, row_shift);
      if (column_shifts != nullptr) symbol = _mm512_add_epi8(symbol, _mm512_loadu_si512(column_shifts + first));
    }
    symbol = _mm512_and_si512(symbol, symbol_mask);
    for_each_vector<Word>(first, num_columns, [&](unsigned part, std::uint64_t offset, auto lanes) {
      __m512i field = _mm512_permutexvar_epi8(from_byte, row.load(fixed));  // NOLINT(misc-const-correctness)
      if constexpr (kJoin != Join::kByteFields) field = _mm512_multishift_epi64_epi8(from_bit, field);
      fixed += plane_bytes;
      const __m512i placed = Lanes<Word>::shift_left(Lanes<Word>::widen(symbol, part), symbol_at);
      constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
      // NOLINTNEXTLINE(misc-const-correctness): changed below, where kJoin says so
      __m512i word = _mm512_ternarylogic_epi64(field, fixed_mask, placed, kFirstUnderSecondOrThird);
      if constexpr (kJoin == Join::kAny) {
        const __m512i sign = Lanes<Word>::shift_left(field, sign_shift);
        word = _mm512_ternarylogic_epi64(sign, sign_mask, word, kFirstUnderSecondOrThird);
      }
      if constexpr (std::is_same_v<decltype(lanes), AllLanes>) {
        writer.put(offset, word);
      } else {
        Lanes<Word>::store_some(dst + offset, lanes, word);
      }
    });
  }
  writer.finish(layout.row_bytes / 64 * 64);
  return true;
}

template <class Word, class Writer, class Symbols, Join kJoin, bool kHasShifts>
inline bool join_words(const RowLayout& layout, const StoredBytes& row, std::uint8_t shift,
                       const typename Symbols::From& from, std::byte* dst) {
  using JoinWords = bool(const RowLayout&, const StoredBytes&, std::uint8_t, const typename Symbols::From&, std::byte*);
  static constexpr JoinWords* kOfWidth[] = {
      join_words<Word, Writer, Symbols, kJoin, kHasShifts, 1>, join_words<Word, Writer, Symbols, kJoin, kHasShifts, 2>,
      join_words<Word, Writer, Symbols, kJoin, kHasShifts, 3>, join_words<Word, Writer, Symbols, kJoin, kHasShifts, 4>};
  return kOfWidth[layout.tier_bits[0] - 1](layout, row, shift, from, dst);
}

template <class Word, class Writer, class Symbols, Join kJoin>
inline bool join_words(const RowLayout& layout, const StoredBytes& row, std::uint8_t shift,
                       const typename Symbols::From& from, std::byte* dst) {
  const bool has_shifts = shift != 0 || layout.column_shifts != nullptr;
  return has_shifts ? join_words<Word, Writer, Symbols, kJoin, true>(layout, row, shift, from, dst)
                    : join_words<Word, Writer, Symbols, kJoin, false>(layout, row, shift, from, dst);
}

template <class Word, bool kPastCaches, class Symbols>
inline bool join_words(const RowLayout& layout, const StoredRow& stored, std::uint8_t shift,
                       const typename Symbols::From& from, std::byte* dst) {
  using Writer = std::conditional_t<kPastCaches, LineWriter, VectorWriter>;
  const StoredBytes row{stored.data, stored.data + stored.num_bytes};
  if (!layout.unpacks_sign) return join_words<Word, Writer, Symbols, Join::kAny>(layout, row, shift, from, dst);
  if (!layout.unpacking.is_whole_bytes)
    return join_words<Word, Writer, Symbols, Join::kSignInPlace>(layout, row, shift, from, dst);
  return join_words<Word, Writer, Symbols, Join::kByteFields>(layout, row, shift, from, dst);
}
