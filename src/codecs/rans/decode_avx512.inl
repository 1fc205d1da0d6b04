// Stages of decoding by AVX-512. Included by kernels_avx512.cpp.

/// The states of a row, 16 in a vector, and the words that they take.
class StreamReader {
 public:
  /// The two vectors of one row wait for their symbols longer than it takes to begin with those of three others.
  static constexpr unsigned kRowsTogether = 4;

  StreamReader() = default;  ///< of no row

  StreamReader(const std::byte* states, const std::byte* next, const std::byte* end)
      : states_{_mm512_loadu_si512(states), _mm512_loadu_si512(states + 64)}, next_(next), end_(end) {}

  /// Takes the indices of columns `first` to `first + count`, a whole block unless they are the row's last; a block of
  /// `indices` is written in any case, at once: what is loaded as a vector must have been stored as one, or the load
  /// waits until the stores have left for the cache. False when the words do not suffice.
  bool take(const RowLayout& layout, const std::uint8_t* tables, std::uint64_t first, std::uint64_t count,
            std::uint8_t* indices) {
    const std::uint8_t* const of_block = tables == nullptr ? nullptr : tables + first;
    const __m256i low = take_round(layout, of_block, active_of(count));
    if (next_ > end_) return false;
    __m256i high = _mm256_setzero_si256();
    if (count > kStates) {
      high = take_round(layout, of_block == nullptr ? nullptr : of_block + kStates, active_of(count - kStates));
      if (next_ > end_) return false;
    }
    store_block(indices, low, high);
    return true;
  }

  /// The same of a whole block of several rows, round by round.
  template <unsigned kRows, class Row>
  static bool take_blocks(const RowLayout& layout, std::uint64_t first, Row* rows,
                          std::uint8_t (*indices)[kBlockColumns]) {
    __m256i low[kRows];
    __m256i high[kRows];
    if (!take_rounds<kRows>(layout, first, rows, low)) return false;
    if (!take_rounds<kRows>(layout, first + kStates, rows, high)) return false;
    for (unsigned i = 0; i < kRows; ++i) store_block(indices[i], low[i], high[i]);
    return true;
  }

  /// Gives back what the states end with. False when they cannot be what encoding began with.
  bool finish(std::byte* seeds) const {
    const __m512i one = _mm512_set1_epi32(1);
    unsigned others = 0;
    for (unsigned half = 0; half < 2; ++half) {
      others |= _mm512_cmpneq_epi32_mask(_mm512_srli_epi32(states_[half], kWordBits), one);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(seeds + half * 32), _mm512_cvtepi32_epi16(states_[half]));
    }
    return others == 0;
  }

 private:
  static constexpr unsigned kLanes = 16;

  static void store_block(std::uint8_t* indices, __m256i low, __m256i high) {
    _mm512_storeu_si512(indices, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  }

  static __mmask32 active_of(std::uint64_t count) {
    return count >= kStates ? ~std::uint32_t{0} : (std::uint32_t{1} << count) - 1;
  }

  template <unsigned kRows, class Row>
  static __attribute__((always_inline)) bool take_rounds(const RowLayout& layout, std::uint64_t first, Row* rows,
                                                         __m256i* indices) {
    constexpr __mmask32 kAll = ~std::uint32_t{0};
    bool suffices = true;
#pragma GCC unroll 4
    for (unsigned i = 0; i < kRows; ++i) {
      const std::uint8_t* const tables = rows[i].tables == nullptr ? nullptr : rows[i].tables + first;
      indices[i] = rows[i].reader.take_round(layout, tables, kAll);
      suffices &= rows[i].reader.next_ <= rows[i].reader.end_;
    }
    return suffices;
  }

  /// A step of the active states; returns their indices. 64 bytes behind `next_` are read. The words are loaded before
  /// it is known which states take one, for both vectors at once: what one round waits for from the one before is as
  /// little as can be.
  __attribute__((always_inline)) __m256i take_round(const RowLayout& layout, const std::uint8_t* tables,
                                                    __mmask32 active) {
    __m512i words = _mm512_loadu_si512(next_);  // NOLINT(misc-const-correctness): may be changed below
    // The load is kept apart from the expansion: as one instruction they take several times as long (AMD Zen 4).
    __asm__("" : "+v"(words));
    const auto low_active = static_cast<__mmask16>(active);
    const auto high_active = static_cast<__mmask16>(active >> kLanes);
    __m128i low_indices;
    __m128i high_indices;
    const __m512i low = advanced(layout, tables, low_active, states_[0], low_indices);
    const __m512i high =
        advanced(layout, tables == nullptr ? nullptr : tables + kLanes, high_active, states_[1], high_indices);
    const __m512i lowest = _mm512_set1_epi32(kLowestState);
    const __mmask16 low_due = _mm512_mask_cmplt_epu32_mask(low_active, low, lowest);
    const __mmask16 high_due = _mm512_mask_cmplt_epu32_mask(high_active, high, lowest);
    const __mmask32 due = _mm512_kunpackw(high_due, low_due);
    const __m512i taken = _mm512_maskz_expand_epi16(due, words);
    next_ += 2 * static_cast<unsigned>(__builtin_popcount(due));
    const __m512i low_taken = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(taken));
    const __m512i high_taken = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(taken, 1));
    states_[0] = _mm512_mask_mov_epi32(
        states_[0], low_active, _mm512_mask_or_epi32(low, low_due, _mm512_slli_epi32(low, kWordBits), low_taken));
    states_[1] = _mm512_mask_mov_epi32(
        states_[1], high_active, _mm512_mask_or_epi32(high, high_due, _mm512_slli_epi32(high, kWordBits), high_taken));
    return _mm256_set_m128i(high_indices, low_indices);
  }

  /// 16 states behind their symbols, before they take words.
  static __attribute__((always_inline)) __m512i advanced(const RowLayout& layout, const std::uint8_t* tables,
                                                         __mmask16 active, __m512i states, __m128i& indices) {
    const __m128i scale_bits = _mm_cvtsi32_si128(static_cast<int>(layout.scale_bits));
    const __m512i mask = _mm512_set1_epi32(static_cast<int>((1U << layout.scale_bits) - 1));
    __m512i at = _mm512_and_si512(states, mask);
    if (tables != nullptr) {
      const __m512i table = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(tables)));
      at = _mm512_or_si512(at, _mm512_sll_epi32(_mm512_maskz_mov_epi32(active, table), scale_bits));
    }
    const __m512i slots = _mm512_i32gather_epi32(at, layout.slots, sizeof(Slot));
    indices = _mm512_cvtepi32_epi8(slots);
    const __m512i turns = _mm512_srl_epi32(states, scale_bits);
    const __m512i less_one = _mm512_and_si512(_mm512_srli_epi32(slots, kFrequencyAt), _mm512_set1_epi32(0xFFF));
    const __m512i place = _mm512_srli_epi32(slots, kPlaceAt);
    return _mm512_add_epi32(_mm512_mullo_epi32(turns, less_one), _mm512_add_epi32(turns, place));
  }

  __m512i states_[2];
  const std::byte* next_ = nullptr;
  const std::byte* end_ = nullptr;
};

/// Word lanes: what differs between words of 1, 2 and 4 bytes.
template <class Word>
struct Lanes;

template <>
struct Lanes<std::uint8_t> {
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static __m512i widen(const std::uint8_t* indices) { return _mm512_loadu_si512(indices); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi8(a, b); }
  static __m512i add_from(__m512i a, __m512i least, __m512i b) {
    return _mm512_mask_add_epi8(a, _mm512_cmpge_epu8_mask(a, least), a, b);
  }
  // Bits that cross into the next byte are masked by the caller, or are none.
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi16(words, count); }
  static void store_some(std::byte* dst, std::uint64_t count, __m512i words) {
    _mm512_mask_storeu_epi8(dst, (std::uint64_t{1} << count) - 1, words);
  }
};

template <>
struct Lanes<std::uint16_t> {
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static __m512i widen(const std::uint8_t* indices) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(indices)));
  }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
  static __m512i add_from(__m512i a, __m512i least, __m512i b) {
    return _mm512_mask_add_epi16(a, _mm512_cmpge_epu16_mask(a, least), a, b);
  }
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi16(words, count); }
  static void store_some(std::byte* dst, std::uint64_t count, __m512i words) {
    _mm512_mask_storeu_epi16(dst, static_cast<__mmask32>((std::uint64_t{1} << count) - 1), words);
  }
};

template <>
struct Lanes<std::uint32_t> {
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static __m512i widen(const std::uint8_t* indices) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(indices)));
  }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
  static __m512i add_from(__m512i a, __m512i least, __m512i b) {
    return _mm512_mask_add_epi32(a, _mm512_cmpge_epu32_mask(a, least), a, b);
  }
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi32(words, count); }
  static void store_some(std::byte* dst, std::uint64_t count, __m512i words) {
    _mm512_mask_storeu_epi32(dst, static_cast<__mmask16>((1U << count) - 1), words);
  }
};

/// Joins fixed fields and symbols to `count` words, whole vectors of them. Reads up to 64 bytes behind the fields.
template <class Word>
inline void put_vectors(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices,
                        std::uint64_t count, std::byte* dst) {
  constexpr unsigned kWords = 64 / sizeof(Word);
  using WordLanes = Lanes<Word>;
  const WordShape& shape = layout.shape;
  const fields::FieldUnpacking& unpacking = layout.unpacking;
  const __m512i from_byte = _mm512_loadu_si512(unpacking.from_byte);
  const __m512i from_bit = _mm512_loadu_si512(unpacking.from_bit);
  const __m512i fixed_mask = WordLanes::set(layout.unpacked_mask);
  const __m512i sign_mask = WordLanes::set(layout.unpacks_sign ? 0 : shape.sign_mask);
  const __m512i symbol_mask = WordLanes::set(shape.symbol_mask);
  const __m128i symbol_at = _mm_cvtsi32_si128(static_cast<int>(shape.symbol_at));
  const __m128i sign_shift = _mm_cvtsi32_si128(static_cast<int>(shape.symbol_bits));
  const __m512i num_first = WordLanes::set(layout.runs.num_first);
  const __m512i first_symbol = WordLanes::set(layout.runs.first_symbol);
  const __m512i to_second =
      WordLanes::set(layout.runs.second_symbol - layout.runs.num_first - layout.runs.first_symbol);
  // A run of 256 indices is all of them.
  const bool has_second = layout.runs.num_first < kMaxSymbols;
  for (std::uint64_t i = 0; i < count; i += kWords, fixed += unpacking.plane_bytes) {
    const __m512i index = WordLanes::widen(indices + i);
    const __m512i with_first = has_second ? WordLanes::add_from(index, num_first, to_second) : index;
    const __m512i symbol = _mm512_and_si512(WordLanes::add(with_first, first_symbol), symbol_mask);
    const __m512i bytes = _mm512_permutexvar_epi8(from_byte, _mm512_loadu_si512(fixed));
    const __m512i field = _mm512_multishift_epi64_epi8(from_bit, bytes);
    constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
    const __m512i placed = WordLanes::shift_left(symbol, symbol_at);
    __m512i word = _mm512_ternarylogic_epi64(field, fixed_mask, placed, kFirstUnderSecondOrThird);
    const __m512i sign = WordLanes::shift_left(field, sign_shift);
    word = _mm512_ternarylogic_epi64(sign, sign_mask, word, kFirstUnderSecondOrThird);
    if (count - i >= kWords) {
      _mm512_storeu_si512(dst + i * sizeof(Word), word);
    } else {
      WordLanes::store_some(dst + i * sizeof(Word), count - i, word);
    }
  }
}

template <>
inline void put_words<std::uint8_t>(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices,
                                    std::uint64_t count, std::byte* dst) {
  put_vectors<std::uint8_t>(layout, fixed, indices, count, dst);
}
template <>
inline void put_words<std::uint16_t>(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices,
                                     std::uint64_t count, std::byte* dst) {
  put_vectors<std::uint16_t>(layout, fixed, indices, count, dst);
}
template <>
inline void put_words<std::uint32_t>(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices,
                                     std::uint64_t count, std::byte* dst) {
  put_vectors<std::uint32_t>(layout, fixed, indices, count, dst);
}
