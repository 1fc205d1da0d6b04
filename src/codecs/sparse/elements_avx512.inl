// Expands the upper parts and the fields of a row, 8 elements at a time. Included with AVX-512 only.

/// A field and the up to 7 bits before it must fit in 8 bytes; eight fields then fit in 64.
constexpr unsigned kMaxVectorFieldBits = 57;

alignas(64) constexpr std::uint8_t kPlaces[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                  16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                                  32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                                  48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/// Reads 8 fields of a stream at once.
struct FieldReader {
  FieldReader(const std::byte* stream, unsigned bits) : src(stream) {
    const __m512i lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    starts = _mm512_mullo_epi64(lanes, _mm512_set1_epi64(bits));
    mask = _mm512_set1_epi64(static_cast<long long>(low_ones(bits)));
  }

  /// The fields from `bit_offset` on. Reads 64 bytes.
  [[nodiscard]] __m512i at(std::uint64_t bit_offset) const {
    const __m512i part = _mm512_loadu_si512(src + bit_offset / 8);
    const __m512i bits = _mm512_add_epi64(starts, _mm512_set1_epi64(static_cast<long long>(bit_offset % 8)));
    // Each lane gets the 8 bytes from the one on that its field starts in: its number in all 8 places, and 0 to 7.
    const __m512i lowest_bytes = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0808080808080808, 0));
    const __m512i bytes = _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_srli_epi64(bits, 3), lowest_bytes),
                                          _mm512_set1_epi64(0x0706050403020100));
    const __m512i shifts = _mm512_and_si512(bits, _mm512_set1_epi64(7));
    return _mm512_and_si512(_mm512_srlv_epi64(_mm512_permutexvar_epi8(bytes, part), shifts), mask);
  }

  const std::byte* src;
  __m512i starts;  ///< where each field starts behind the first
  __m512i mask;
};

// Words of 8 codes. False where the code of an `active` lane names no word.

template <class Word>
inline bool words_of(const SingleValue<Word>& values, __m512i, __mmask8, __m512i& words) {
  words = _mm512_set1_epi64(static_cast<long long>(values.value));
  return true;
}

template <class Word>
inline bool words_of(const Dictionary<Word>& values, __m512i codes, __mmask8 active, __m512i& words) {
  const __m512i num_values = _mm512_set1_epi64(static_cast<long long>(values.num_values));
  if (_mm512_mask_cmpge_epu64_mask(active, codes, num_values) != 0) return false;
  words = _mm512_mask_i64gather_epi64(_mm512_setzero_si512(), active, codes, values.values, sizeof(Word));
  return true;
}

template <class Word>
inline bool words_of(const Window<Word>& values, __m512i codes, __mmask8, __m512i& words) {
  const auto shift = [](unsigned num_bits) { return _mm_cvtsi32_si128(static_cast<int>(num_bits)); };
  const auto all = [](std::uint64_t word) { return _mm512_set1_epi64(static_cast<long long>(word)); };
  __m512i magnitude = _mm512_add_epi64(_mm512_srl_epi64(codes, shift(values.sign_bits)), all(values.base));
  magnitude = _mm512_sll_epi64(magnitude, shift(values.drop_bits));
  if (sizeof(Word) < 8) magnitude = _mm512_and_si512(magnitude, all(low_ones(8 * sizeof(Word))));
  const __m512i signs = _mm512_and_si512(_mm512_slli_epi64(codes, 8 * sizeof(Word) - 1), all(values.sign_mask));
  words = _mm512_or_si512(_mm512_srl_epi64(magnitude, shift(values.sign_bits)), signs);
  return true;
}

/// Stores 8 words, each in the low end of a lane, back to back.
template <class Word>
inline void store_words(Word* dst, __m512i words) {
  if constexpr (sizeof(Word) == 1) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(dst), _mm512_cvtepi64_epi8(words));
  } else if constexpr (sizeof(Word) == 2) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm512_cvtepi64_epi16(words));
  } else if constexpr (sizeof(Word) == 4) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm512_cvtepi64_epi32(words));
  } else {
    _mm512_storeu_si512(dst, words);
  }
}

/// Lanes of `background`, but in those that `present` names the words of `words`, in order.
template <class Word>
inline __m512i expand_words(__m512i background, std::uint64_t present, __m512i words) {
  if constexpr (sizeof(Word) == 1) {
    return _mm512_mask_expand_epi8(background, present, words);
  } else if constexpr (sizeof(Word) == 2) {
    return _mm512_mask_expand_epi16(background, static_cast<__mmask32>(present), words);
  } else if constexpr (sizeof(Word) == 4) {
    return _mm512_mask_expand_epi32(background, static_cast<__mmask16>(present), words);
  } else {
    return _mm512_mask_expand_epi64(background, static_cast<__mmask8>(present), words);
  }
}

/// The first lanes of 8, as many as are left to do.
inline __mmask8 active_lanes(unsigned num_left) {
  return static_cast<__mmask8>(low_ones(num_left < 8 ? num_left : 8));
}

template <class Word, class Values>
inline bool expand_bitmap(const RowLayout& layout, const Values& values, const std::byte* src, std::byte* dst) {
  constexpr unsigned kLanes = 64 / sizeof(Word);
  const FieldReader fields(src, layout.code_bits);
  const auto background = (__m512i)vector_of<Word>(layout.background);
  const std::byte* const end = dst + layout.row_bytes;
  std::uint64_t bit_offset = layout.num_columns;
  for (std::uint64_t first = 0; first < layout.num_columns; first += 64) {
    std::uint64_t present = load<std::uint64_t>(src + first / 8) & low_ones(layout.num_columns - first);
    const auto num_present = static_cast<unsigned>(__builtin_popcountll(present));
    alignas(64) Word words[64 + kLanes];
    for (unsigned i = 0; i < num_present; i += 8) {
      __m512i group = _mm512_setzero_si512();
      if (!words_of(values, fields.at(bit_offset + i * layout.code_bits), active_lanes(num_present - i), group))
        return false;
      store_words(words + i, group);
    }
    bit_offset += num_present * layout.code_bits;

    const Word* next = words;
    for (unsigned lane = 0; lane < 64 && dst < end; lane += kLanes, dst += 64) {
      const std::uint64_t mask = kLanes == 64 ? present : present & low_ones(kLanes);
      const __m512i expanded = expand_words<Word>(background, mask, _mm512_loadu_si512(next));
      const auto num_left = static_cast<std::uint64_t>(end - dst);
      if (num_left >= 64) {
        _mm512_storeu_si512(dst, expanded);
      } else {
        _mm512_mask_storeu_epi8(dst, low_ones(num_left), expanded);
      }
      next += __builtin_popcountll(mask);
      present = kLanes == 64 ? 0 : present >> (kLanes % 64);
    }
  }
  return true;
}

template <class Word, class Values>
inline bool expand_buckets(const RowLayout& layout, const Values& values, const std::byte* src,
                           std::uint64_t upper_bits, std::byte* dst) {
  fill_row<Word>(dst, layout.row_bytes, layout.background);
  const unsigned field_bits = layout.low_bits + layout.code_bits;
  const FieldReader fields(src, field_bits);
  const __m128i low_bits = _mm_cvtsi32_si128(static_cast<int>(layout.low_bits));
  const __m512i low_mask = _mm512_set1_epi64(static_cast<long long>(low_ones(layout.low_bits)));
  const __m512i num_columns = _mm512_set1_epi64(static_cast<long long>(layout.num_columns));
  const __m512i lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i all_places = _mm512_load_si512(kPlaces);
  __m512i column_before = _mm512_set1_epi64(-1);
  std::uint64_t num_before = 0;
  for (std::uint64_t first = 0; first < upper_bits; first += 64) {
    const std::uint64_t ones = load<std::uint64_t>(src + first / 8) & low_ones(upper_bits - first);
    const auto num_ones = static_cast<unsigned>(__builtin_popcountll(ones));
    alignas(64) std::uint8_t places[64];
    _mm512_store_si512(places, _mm512_maskz_compress_epi8(ones, all_places));
    for (unsigned i = 0; i < num_ones; i += 8) {
      const unsigned num_active = num_ones - i < 8 ? num_ones - i : 8;
      const __mmask8 active = active_lanes(num_active);
      const __m512i field = fields.at(upper_bits + num_before * field_bits);
      // The zeros below an element's place say which bucket; the ones below belong to the elements before.
      const __m512i place = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(places + i)));
      const __m512i offset = _mm512_set1_epi64(static_cast<long long>(first - num_before));
      const __m512i bucket = _mm512_add_epi64(_mm512_sub_epi64(place, lanes), offset);
      const __m512i column = _mm512_or_si512(_mm512_sll_epi64(bucket, low_bits), _mm512_and_si512(field, low_mask));
      const __mmask8 descending =
          _mm512_mask_cmple_epi64_mask(active, column, _mm512_alignr_epi64(column, column_before, 7));
      const __mmask8 outside = _mm512_mask_cmpge_epi64_mask(active, column, num_columns);
      __m512i words = _mm512_setzero_si512();
      if ((descending | outside) != 0 || !words_of(values, _mm512_srl_epi64(field, low_bits), active, words)) {
        return false;
      }
      alignas(64) std::uint64_t columns[8];
      alignas(64) Word words_in_order[8] = {};
      _mm512_store_si512(columns, column);
      store_words(words_in_order, words);
      for (unsigned j = 0; j < num_active; ++j) store(dst + columns[j] * sizeof(Word), words_in_order[j]);
      column_before = _mm512_permutexvar_epi64(_mm512_set1_epi64(num_active - 1), column);
      num_before += num_active;
    }
  }
  return true;
}

template <class Word, class Values>
inline bool expand_in_vectors(const RowLayout& layout, const Values& values, const std::byte* src,
                              std::uint64_t upper_bits, std::byte* dst) {
  if (layout.low_bits == 0) return expand_bitmap<Word>(layout, values, src, dst);
  return expand_buckets<Word>(layout, values, src, upper_bits, dst);
}
