// How rows are put together by AVX-512. Included inside a namespace, behind layout.inl and lanes_avx512.inl.

/// Rows up to this size are taken from memory without touching what lies behind them (StoredBytes). In longer ones a
/// line more does not matter, but the shuffles that this costs do.
constexpr std::uint64_t kShortRowBytes = 1024;

/// Vectors of longer ones that are put together in one turn: one by one they take a twentieth longer.
constexpr unsigned kUnrolled = 4;

/// Puts the words from the beginning of `next` on, in order, into the lanes that were found. What is loaded is kept
/// apart from the expansion: as one instruction they take several times as long (AMD Zen 4).
template <class Word>
inline __m512i expand(__m512i words, MaskOf<Word> found, __m512i next) {
  __asm__("" : "+v"(next));
  return Lanes<Word>::expand(words, found, next);
}

/// The words that did not fit into fields, in order, where they lie.
template <class Word>
class ExceptionsInMemory {
 public:
  static constexpr bool kIsShortRow = false;

  ExceptionsInMemory(const StoredBytes& row, const std::byte* first) : next_(first), end_(row.end) {}

  /// True of a malformed row, once more were taken of it than it has: then none may be taken any more.
  [[nodiscard]] bool are_missing() const { return next_ > end_; }

  /// Puts the next ones, which are mostly few, into the lanes that were found. Whole vectors would cross lines more
  /// often (with 16 bytes a row takes a tenth less time: Intel Xeon with AMX).
  __attribute__((always_inline)) __m512i take(__m512i words, MaskOf<Word> found) {
    const std::byte* const src = next_;
    const std::uint64_t count = count_of(found);
    next_ += count * sizeof(Word);
    if (__builtin_expect(count > sizeof(__m128i) / sizeof(Word), 0))
      return expand<Word>(words, found, _mm512_loadu_si512(src));
    const __m128i few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src));
    return expand<Word>(words, found, _mm512_castsi128_si512(few));
  }

 private:
  const std::byte* next_;
  const std::byte* end_;
};

/// The same in a register, where one vector holds them.
template <class Word>
class ExceptionsInRegister {
 public:
  static constexpr bool kIsShortRow = true;

  ExceptionsInRegister(const StoredBytes& row, const std::byte* first)
      : words_(row.load_last(first)), num_bytes_(static_cast<std::uint64_t>(row.end - first)) {}

  [[nodiscard]] bool are_missing() const { return taken_ > num_bytes_; }

  __attribute__((always_inline)) __m512i take(__m512i words, MaskOf<Word> found) {
    const __m512i next = bytes_from(words_, taken_);
    taken_ += count_of(found) * sizeof(Word);
    return expand<Word>(words, found, next);
  }

 private:
  __m512i words_;
  std::uint64_t num_bytes_;
  std::uint64_t taken_ = 0;
};

template <class Word, class Writer, class Exceptions, Join kJoin, bool kHasColumnBases>
inline bool join_words(const RowLayout& layout, const StoredBytes& row, bool in_order, Writer& out) {
  const __m512i from_byte = _mm512_loadu_si512(layout.unpacking.from_byte);
  const __m512i from_bit = _mm512_loadu_si512(layout.unpacking.from_bit);
  const __m512i places = Lanes<Word>::set(layout.field_places);
  const __m512i marker = Lanes<Word>::set(layout.marker);
  const __m512i base = _mm512_loadu_si512(layout.bases);
  const __m512i magnitude = Lanes<Word>::set(~layout.dropped);
  const unsigned sign_shift = 8 * sizeof(Word) - 1 - layout.dropped_bits;
  const std::uint64_t plane_step = layout.unpacking.plane_bytes;
  const std::byte* column_bases = layout.bases;
  const std::uint64_t row_bytes = layout.row_bytes;
  const std::byte* src = row.begin;
  Exceptions exceptions(row, src + layout.plane_bytes);

  const auto word_of = [&](__m512i value) {
    if constexpr (kJoin == Join::kAsIs) return value;
    if constexpr (kJoin == Join::kRotated) return Lanes<Word>::rotate_right(value);
    constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
    return _mm512_ternarylogic_epi64(Lanes<Word>::shift_right(value, 1), magnitude,
                                     Lanes<Word>::shift_left(value, sign_shift), kFirstUnderSecondOrThird);
  };
  const auto join = [&](std::uint64_t offset, MaskOf<Word> lanes, __m512i bytes) __attribute__((always_inline)) {
    const __m512i packed = _mm512_permutexvar_epi8(from_byte, bytes);
    const __m512i field = _mm512_and_si512(_mm512_multishift_epi64_epi8(from_bit, packed), places);
    src += plane_step;
    const MaskOf<Word> found = Lanes<Word>::equal(field, marker) & lanes;
    const __m512i value = Lanes<Word>::add(field, kHasColumnBases ? _mm512_loadu_si512(column_bases + offset) : base);
    const __m512i word = word_of(value);
    return exceptions.take(word, found);
  };
  const auto load_last = [&] { return Exceptions::kIsShortRow ? row.load_last(src) : _mm512_loadu_si512(src); };
  Writer writer = out;
  const std::uint64_t whole_bytes = row_bytes / kVectorBytes * kVectorBytes;
  const std::uint64_t loaded_last = Exceptions::kIsShortRow && whole_bytes > 0 ? kVectorBytes : 0;
  std::uint64_t offset = 0;
  while (offset + loaded_last < whole_bytes) {
    const std::uint64_t left = whole_bytes - loaded_last - offset;
    const std::uint64_t end = offset + (left < kPartBytes ? left : kPartBytes);
    if (in_order) request_ahead_of(src, (end - offset) / kVectorBytes * plane_step);
    if constexpr (!Exceptions::kIsShortRow) {
      while (offset + kUnrolled * kVectorBytes <= end) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < kUnrolled; ++i, offset += kVectorBytes) {
          if (exceptions.are_missing()) return false;
          writer.put(join(offset, kAllLanes<Word>, _mm512_loadu_si512(src)));
        }
      }
    }
    for (; offset < end; offset += kVectorBytes) {
      if (!Exceptions::kIsShortRow && exceptions.are_missing()) return false;
      writer.put(join(offset, kAllLanes<Word>, _mm512_loadu_si512(src)));
    }
  }
  if (loaded_last > 0) {
    writer.put(join(offset, kAllLanes<Word>, load_last()));
    offset += kVectorBytes;
  }
  if (offset < row_bytes) {
    if (exceptions.are_missing()) return false;
    const std::uint64_t left = row_bytes - offset;
    writer.put_some(join(offset, lanes_of<Word>(left), load_last()), left);
  }
  out = writer;
  return !exceptions.are_missing();
}

template <class Word, bool kIsSigned, class Writer, class Exceptions>
inline bool join_row(const RowLayout& layout, const StoredBytes& row, bool in_order, Writer& out) {
  return with_join<kIsSigned>(layout, [&](auto join, auto has_column_bases) __attribute__((always_inline)) {
    return join_words<Word, Writer, Exceptions, join, has_column_bases>(layout, row, in_order, out);
  });
}

/// As in stages.inl.
template <class Word, bool kIsSigned, class Writer>
inline bool join_row(const RowLayout& layout, const std::byte* src, std::uint64_t num_exception_bytes, bool in_order,
                     Writer& out) {
  const StoredBytes row{src, src + layout.plane_bytes + num_exception_bytes};
  const bool is_short = layout.row_bytes <= kShortRowBytes && num_exception_bytes <= kVectorBytes;
  return is_short ? join_row<Word, kIsSigned, Writer, ExceptionsInRegister<Word>>(layout, row, in_order, out)
                  : join_row<Word, kIsSigned, Writer, ExceptionsInMemory<Word>>(layout, row, in_order, out);
}

using RowsInCaches = VectorWriter;
using RowsPastCaches = LineWriter;

/// Orders stores that went past the caches before what follows.
inline void finish_stores() {
  _mm_sfence();
}
