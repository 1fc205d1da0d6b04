// Decoding by AVX2, for words of 2 and 4 bytes: a vector of words at a time, its exceptions included. Included inside a
// namespace, behind stages.inl and fields/vectors_avx2.inl.

constexpr std::uint64_t kVectorBytes = 32;

/// Lanes of two words.
template <class Word>
struct Pairs;

template <>
struct Pairs<std::uint16_t> {
  static constexpr unsigned kMaxFieldBits = 14;  ///< two fields fit into a lane from any bit that a pair begins with
  static __m256i numbers() { return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0); }
  static __m256i set(std::uint64_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
  static __m256i shift_left(__m256i pairs, __m256i counts) { return _mm256_sllv_epi32(pairs, counts); }
  static __m256i shift_right(__m256i pairs, __m256i counts) { return _mm256_srlv_epi32(pairs, counts); }
  static __m128i first_bytes() { return _mm_set_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0); }
  static __m128i bytes() { return _mm_set1_epi32(0x03020100); }
};

template <>
struct Pairs<std::uint32_t> {
  static constexpr unsigned kMaxFieldBits = 30;
  static __m256i numbers() { return _mm256_set_epi64x(3, 2, 1, 0); }
  static __m256i set(std::uint64_t value) { return _mm256_set1_epi64x(static_cast<long long>(value)); }
  static __m256i shift_left(__m256i pairs, __m256i counts) { return _mm256_sllv_epi64(pairs, counts); }
  static __m256i shift_right(__m256i pairs, __m256i counts) { return _mm256_srlv_epi64(pairs, counts); }
  static __m128i first_bytes() { return _mm_set_epi64x(0x0808080808080808, 0); }
  static __m128i bytes() { return _mm_set1_epi64x(0x0706050403020100); }
};

/// Takes the placed fields of a vector of words out of their plane. Where kIsWhole, no bits are dropped.
template <class Word, bool kIsWhole>
class PlacedFields {
 public:
  explicit PlacedFields(const RowLayout& layout)
      : next_half_(kVectorBytes / 2 / sizeof(Word) * layout.field_bits / 8),
        to_first_(Pairs<Word>::set(layout.dropped_bits)),
        to_second_(Pairs<Word>::set(kWordBits - layout.field_bits + layout.dropped_bits)),
        first_places_(Pairs<Word>::set(layout.field_places)),
        second_places_(Pairs<Word>::set(layout.field_places << kWordBits)) {
    // Pair i begins with bit i × pair_bits: of the plane, or of what the upper half is loaded from.
    const auto pair_bits = Pairs<Word>::set(std::uint64_t{2} * layout.field_bits);
    const __m256i in_upper_half = _mm256_set_epi64x(-1, -1, 0, 0);
    const __m256i half_at = _mm256_and_si256(Pairs<Word>::set(8 * next_half_), in_upper_half);
    const __m256i bit = _mm256_sub_epi32(_mm256_mullo_epi32(Pairs<Word>::numbers(), pair_bits), half_at);
    const __m256i first_byte =
        _mm256_shuffle_epi8(_mm256_srli_epi32(bit, 3), _mm256_broadcastsi128_si256(Pairs<Word>::first_bytes()));
    from_byte_ = _mm256_add_epi8(first_byte, _mm256_broadcastsi128_si256(Pairs<Word>::bytes()));
    from_bit_ = _mm256_and_si256(bit, Pairs<Word>::set(7));
  }

  [[nodiscard]] __m256i take(const std::byte* plane) const {
    const __m256i bytes = _mm256_shuffle_epi8(load_halves(plane, plane + next_half_), from_byte_);
    const __m256i pairs = Pairs<Word>::shift_right(bytes, from_bit_);
    const __m256i first = kIsWhole ? pairs : Pairs<Word>::shift_left(pairs, to_first_);
    return _mm256_or_si256(_mm256_and_si256(first, first_places_),
                           _mm256_and_si256(Pairs<Word>::shift_left(pairs, to_second_), second_places_));
  }

 private:
  static constexpr unsigned kWordBits = 8 * sizeof(Word);

  std::uint64_t next_half_;
  __m256i to_first_;
  __m256i to_second_;
  __m256i first_places_;
  __m256i second_places_;
  __m256i from_byte_;
  __m256i from_bit_;
};

/// A vector of words, and which of them are exceptions.
struct MarkedWords {
  __m256i words;
  __m256i is_exception;
};

/// For each set of eight lanes of four bytes, which word belongs to each of these.
struct WideExpansions {
  alignas(32) std::uint32_t from_word[256][8] = {};

  constexpr WideExpansions() {
    for (unsigned lanes = 0; lanes < 256; ++lanes) {
      unsigned next = 0;
      for (unsigned i = 0; i < 8; ++i) from_word[lanes][i] = (lanes >> i & 1U) != 0 ? next++ : 0;
    }
  }
};
constexpr WideExpansions kWideExpansions;

/// The exceptions of a row, which follow each other from `next` on.
template <class Word>
struct Exceptions {
  const std::byte* next;

  /// Puts the next ones into the lanes of two vectors that they belong to.
  void take(MarkedWords& first, MarkedWords& second) {
    if constexpr (sizeof(Word) == 2) {
      const auto found =
          static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(first.is_exception, second.is_exception)));
      complete(first, expanded(found & 0xFF, found >> 16 & 0xFF));
      complete(second, expanded(found >> 8 & 0xFF, found >> 24));
    } else {
      complete(first, _mm256_and_si256(first.is_exception, expanded(first.is_exception)));
      complete(second, _mm256_and_si256(second.is_exception, expanded(second.is_exception)));
    }
  }

  /// Puts the next ones over those words of two vectors, stored at `dst`, that they belong to. Mostly these are two at
  /// most: so many are always stored, behind the vectors where they are fewer, and must be writable there. In a cache a
  /// row takes a third less time than with `take`, of f32 a sixth (Intel Xeon with AMX, 2026-11-22).
  void put(const MarkedWords& first, const MarkedWords& second, std::byte* dst) {
    constexpr std::uint64_t kFirstBytes = ~std::uint64_t{0} / ((1U << sizeof(Word)) - 1);
    const auto low = static_cast<std::uint32_t>(_mm256_movemask_epi8(first.is_exception));
    const auto high = static_cast<std::uint32_t>(_mm256_movemask_epi8(second.is_exception));
    std::uint64_t found = (low | std::uint64_t{high} << 32) & kFirstBytes;
    const std::byte* src = next;
    next += static_cast<unsigned>(__builtin_popcountll(found)) * sizeof(Word);
    const auto put_one = [&] {
      store(dst + _tzcnt_u64(found), load<Word>(src));
      found = _blsr_u64(found);
      src += sizeof(Word);
    };
    put_one();
    put_one();
    while (__builtin_expect(found != 0, 0)) put_one();
  }

 private:
  static void complete(MarkedWords& vector, __m256i exceptions) {
    vector.words = _mm256_or_si256(_mm256_andnot_si256(vector.is_exception, vector.words), exceptions);
  }

  /// The next words of two bytes in those lanes of a vector's halves that are set, and zeros in the others.
  __m256i expanded(unsigned low_lanes, unsigned high_lanes) {
    const std::byte* const middle = next + 2 * static_cast<unsigned>(__builtin_popcount(low_lanes));
    const __m256i words = load_halves(next, middle);
    next = middle + 2 * static_cast<unsigned>(__builtin_popcount(high_lanes));
    const auto& from_byte = kExpansions.from_byte;
    return _mm256_shuffle_epi8(words, load_halves(from_byte[low_lanes], from_byte[high_lanes]));
  }

  /// The next words of four bytes in those lanes of a vector that are set.
  __m256i expanded(__m256i is_exception) {
    const auto lanes = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(is_exception)));
    const __m256i from_word = load_vector(kWideExpansions.from_word[lanes]);
    const __m256i words = _mm256_permutevar8x32_epi32(load_vector(next), from_word);
    next += 4 * static_cast<unsigned>(__builtin_popcount(lanes));
    return words;
  }
};

/// Lanes of words below `count`, which may be negative.
template <class Word>
inline __m256i lanes_below(std::int64_t count) {
  if constexpr (sizeof(Word) == 2) {
    const __m256i numbers = _mm256_set_epi16(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_cmpgt_epi16(_mm256_set1_epi16(static_cast<short>(count)), numbers);
  } else {
    const __m256i numbers = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), numbers);
  }
}

/// Expands a row two vectors at a time: what finds their exceptions is shared. A function of its own, or its constants
/// do not stay in registers.
template <class Word, Join kJoin, bool kHasColumnBases, bool kPastCaches>
__attribute__((noinline)) bool join_words(const RowLayout& layout, const std::byte* src,
                                          std::uint64_t num_exception_bytes, std::byte* dst) {
  constexpr std::uint64_t kWords = kVectorBytes / sizeof(Word);
  const PlacedFields<Word, kJoin == Join::kRotated> fields(layout);
  const __m256i marker = Words<Word>::set(layout.marker);
  const __m256i base = load_vector(layout.bases);
  const __m256i magnitude = Words<Word>::set(~layout.dropped);
  const __m128i sign_shift = shift_count(8 * sizeof(Word) - 1 - layout.dropped_bits);
  const std::uint64_t plane_step = kWords * layout.field_bits / 8;
  const std::byte* const column_bases = layout.bases;
  const std::uint64_t row_bytes = layout.row_bytes;
  Exceptions<Word> exceptions{src + layout.plane_bytes};
  const std::byte* const end = exceptions.next + num_exception_bytes;

  const auto word_of = [&](__m256i value) {
    if constexpr (kJoin == Join::kAsIs) return value;
    if constexpr (kJoin == Join::kRotated) return Words<Word>::rotate_right(value);
    return _mm256_or_si256(_mm256_and_si256(Words<Word>::shift_right(value, shift_count(1)), magnitude),
                           Words<Word>::shift_left(value, sign_shift));
  };
  const auto vector_at = [&](std::uint64_t at, const std::byte* plane) __attribute__((always_inline)) {
    const __m256i field = fields.take(plane);
    const __m256i value = Words<Word>::add(field, kHasColumnBases ? load_vector(column_bases + at) : base);
    return MarkedWords{word_of(value), Words<Word>::equal(field, marker)};
  };
  const auto put = [&](std::byte* words, const MarkedWords& first, const MarkedWords& second) {
    put_vector<kPastCaches>(words, first.words);
    put_vector<kPastCaches>(words + kVectorBytes, second.words);
  };
  std::uint64_t offset = 0;
  for (; offset + 2 * kVectorBytes < row_bytes; offset += 2 * kVectorBytes, src += 2 * plane_step) {
    if (exceptions.next > end) return false;
    // NOLINTBEGIN(misc-const-correctness): past the caches they are changed
    MarkedWords first = vector_at(offset, src);
    MarkedWords second = vector_at(offset + kVectorBytes, src + plane_step);
    // NOLINTEND(misc-const-correctness)
    if constexpr (kPastCaches) exceptions.take(first, second);
    put(dst + offset, first, second);
    if constexpr (!kPastCaches) exceptions.put(first, second, dst + offset);
  }
  if (exceptions.next > end) return false;
  MarkedWords first = vector_at(offset, src);
  MarkedWords second = vector_at(offset + kVectorBytes, src + plane_step);
  const std::uint64_t left = row_bytes - offset;
  if (left == 2 * kVectorBytes) {
    exceptions.take(first, second);
    put(dst + offset, first, second);
  } else {
    const auto num_words = static_cast<std::int64_t>(left / sizeof(Word));
    first.is_exception = _mm256_and_si256(first.is_exception, lanes_below<Word>(num_words));
    second.is_exception =
        _mm256_and_si256(second.is_exception, lanes_below<Word>(num_words - static_cast<std::int64_t>(kWords)));
    exceptions.take(first, second);
    std::byte words[2 * kVectorBytes];
    store_vector(words, first.words);
    store_vector(words + kVectorBytes, second.words);
    __builtin_memcpy(dst + offset, words, left);
  }
  return exceptions.next <= end;
}

using RowsInCaches = RowCursor<false>;
using RowsPastCaches = RowCursor<true>;

template <class Word, bool kIsSigned, bool kPastCaches>
inline bool join_row(const RowLayout& layout, const std::byte* src, std::uint64_t num_exception_bytes, bool in_order,
                     RowCursor<kPastCaches>& out) {
  if (in_order) request_ahead_of(src, layout.plane_bytes + num_exception_bytes);
  std::byte* const dst = out.next;
  out.next += layout.row_bytes;
  if constexpr (sizeof(Word) == 2 || sizeof(Word) == 4) {
    if (layout.field_bits <= Pairs<Word>::kMaxFieldBits) {
      return with_join<kIsSigned>(layout, [&](auto join, auto has_column_bases) {
        return kPastCaches && can_pass_caches(dst)
                   ? join_words<Word, join, has_column_bases, kPastCaches>(layout, src, num_exception_bytes, dst)
                   : join_words<Word, join, has_column_bases, false>(layout, src, num_exception_bytes, dst);
      });
    }
  }
  return join_chunks<Word, kIsSigned>(layout, src, num_exception_bytes, dst);
}

/// Orders stores that went past the caches before what follows.
inline void finish_stores() {
  _mm_sfence();
}
