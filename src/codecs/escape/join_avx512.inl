// How rows are put together by AVX-512, from their fixed fields, the codes of their first tier and the symbols of its
// escapes. Included by kernels_avx512.cpp, behind escapes_avx512.inl.

/// The codes of a plane from `at` on, of which `count` are left.
inline __m512i codes_at(const Codes& codes, const StoredBytes& row, const std::byte* at, std::uint64_t count) {
  return count >= kBlockCodes ? codes.block(at) : codes.rest(row.load_last(at));
}

/// What a layout needs of a Joiner: fields of whole bytes, one a word where words have two; a sign that gets to its
/// place with the field, or one that does not.
enum class Join { kByteOfTwo, kWholeBytes, kSignInPlace, kAny };

/// What putting rows of a layout together needs, for words of this size: set up once, it takes as long as a short row.
template <class Word>
struct JoinConstants {
  JoinConstants(const RowLayout& layout, bool is_turned, bool is_requested_in_parts)
      : num_columns(layout.num_columns),
        num_inner_columns(inner_columns(layout)),
        in_parts(is_requested_in_parts),
        codes{layout.tier_bits[0]},
        fixed_bytes(layout.fixed_bytes),
        vector_plane_bytes(layout.unpacking.plane_bytes),
        column_shifts(layout.column_shifts),
        turn(layout.shape.symbol_at % 8),
        symbol_of_code(symbols_of_codes(layout, 0)),
        from_byte(_mm512_loadu_si512(layout.unpacking.from_byte)),
        from_bit(_mm512_loadu_si512(layout.unpacking.from_bit)),
        fixed_mask(Lanes<Word>::set(layout.unpacked_mask)),
        symbol_mask(Lanes<Word>::set(layout.shape.symbol_mask << layout.shape.symbol_at)),
        sign_mask(Lanes<Word>::set(layout.shape.sign_mask)),
        sign_shift(Lanes<Word>::set_count(layout.shape.symbol_bits)) {
    if (is_turned) symbol_of_code = turn(symbol_of_code);
  }

  /// Columns of whole blocks whose fixed fields can be loaded in whole vectors without looking for the row's end.
  static std::uint64_t inner_columns(const RowLayout& layout) {
    const std::uint64_t num_whole = layout.num_columns / kLanes * kLanes;
    if (num_whole == 0) return 0;
    const std::uint64_t last_vector = (num_whole / kLanes * sizeof(Word) - 1) * layout.unpacking.plane_bytes;
    return last_vector + 64 <= layout.minimum_row_bytes ? num_whole : num_whole - kLanes;
  }

  std::uint64_t num_columns;
  std::uint64_t num_inner_columns;
  bool in_parts;  ///< what comes behind a row is requested while it is put together
  Codes codes;    ///< of the first tier
  std::uint64_t fixed_bytes;
  std::uint64_t vector_plane_bytes;  ///< of the fields of one vector of words
  const std::byte* column_shifts;
  Turn turn;
  __m512i symbol_of_code;  ///< turned or not
  __m512i from_byte;
  __m512i from_bit;
  __m512i fixed_mask;
  __m512i symbol_mask;
  __m512i sign_mask;
  __m512i sign_shift;
};

/// Codes of any width (Joiner).
constexpr unsigned kAnyWidth = 0;

/// Puts rows together, as a Writer writes them. Where kIsTurned, symbols come turned, and have no shifts. The constants
/// are copied: bytes that are written might be theirs, for all that the compiler knows.
template <class Word, class Writer, Join kJoin, bool kIsTurned, unsigned kWidth>
class Joiner {
 public:
  explicit Joiner(const JoinConstants<Word>& constants) : c_(constants) {}
  Joiner(const RowLayout& layout, bool is_turned, bool in_parts) : c_(layout, is_turned, in_parts) {}

  /// Returns how many of the first tier's codes are the escape, whose symbols are at `next`.
  __attribute__((always_inline)) std::uint64_t join(const StoredBytes& row, const std::uint8_t* next,
                                                    std::uint8_t shift, Writer& writer) const {
    if (Writer::kPastCaches && c_.in_parts) return join_in_parts(row, next, shift, writer);
    State at = begin(row, next, shift, writer);
    std::uint64_t first = 0;
    join_pairs(at, first, c_.num_inner_columns);
    return finish(at, first, next, writer);
  }

 private:
  /// Where putting a row together has come.
  struct State {
    StoredBytes row;
    Writer writer;
    const std::byte* fixed;
    const std::byte* codes;
    const std::uint8_t* next;  ///< escape's symbol
    __m512i row_shift;
  };

  __attribute__((always_inline)) State begin(const StoredBytes& row, const std::uint8_t* next, std::uint8_t shift,
                                             const Writer& writer) const {
    return {row, writer, row.begin, row.begin + c_.fixed_bytes, next, byte_of(shift)};
  }

  /// Puts inner blocks together, two in a turn, as long as there are two before column `end`.
  __attribute__((always_inline)) void join_pairs(State& at, std::uint64_t& first, std::uint64_t end) const {
    while (first + 2 * kLanes <= end) {
      for (unsigned i = 0; i < 2; ++i, first += kLanes) join_block<true>(at, first);
    }
  }

  /// Puts what is left together.
  __attribute__((always_inline)) std::uint64_t finish(State& at, std::uint64_t first, const std::uint8_t* next,
                                                      Writer& writer) const {
    for (; first < c_.num_inner_columns; first += kLanes) join_block<true>(at, first);
    for (; first < c_.num_columns; first += kLanes) join_block<false>(at, first);
    writer = at.writer;
    return static_cast<std::uint64_t>(at.next - next);
  }

  /// `join` with requests for what is ahead. A function of its own: with a loop around its loop `join` takes a tenth
  /// longer, since the compiler keeps less in registers.
  __attribute__((noinline)) std::uint64_t join_in_parts(const StoredBytes& row, const std::uint8_t* next,
                                                        std::uint8_t shift, Writer& writer) const {
    State at = begin(row, next, shift, writer);
    for (std::uint64_t first = 0;;) {
      constexpr std::uint64_t kPartColumns = kPartBytes / sizeof(Word);
      request_part_ahead_of(at.row.begin, at.row.num_bytes(), first, kPartColumns, c_.num_columns);
      const std::uint64_t end = first + kPartColumns;
      if (end >= c_.num_inner_columns) {
        join_pairs(at, first, c_.num_inner_columns);
        return finish(at, first, next, writer);
      }
      join_pairs(at, first, end);
    }
  }

  /// Puts up to 64 words together. An inner block has them all.
  template <bool kIsInner>
  __attribute__((always_inline)) void join_block(State& at, std::uint64_t first) const {
    const std::uint64_t left = c_.num_columns - first;
    __m512i symbols;
    __mmask64 found;
    if constexpr (kIsInner && kWidth == 2) {
      const __m512i code = Codes::loose_pair(at.codes);
      found = _mm512_testn_epi8_mask(code, byte_of(3));
      symbols = expand(_mm512_permutexvar_epi8(code, c_.symbol_of_code), found, at.next);
    } else {
      const __m512i code = kIsInner ? c_.codes.block(at.codes) : codes_at(c_.codes, at.row, at.codes, left);
      // Escapes behind the last column take symbols that do not matter.
      found = _mm512_testn_epi8_mask(code, code);
      symbols = expand(_mm512_shuffle_epi8(c_.symbol_of_code, code), found, at.next);
      if constexpr (!kIsInner) found &= lanes_of(left);
    }
    at.next += count_of(found);
    at.codes += 8 * (kWidth == kAnyWidth ? c_.codes.width : kWidth);
    if constexpr (!kIsTurned) symbols = c_.turn(shifted(symbols, at.row_shift, first));
    const auto load = [&](const std::byte* src) __attribute__((always_inline)) {
      return kIsInner ? _mm512_loadu_si512(src) : at.row.load(src);
    };
    const auto put = [&](auto lanes, __m512i words) __attribute__((always_inline)) {
      if constexpr (std::is_same_v<decltype(lanes), AllLanes>) {
        at.writer.request_ahead();
        at.writer.put(words);
      } else {
        at.writer.put_some(words, count_of(lanes) * sizeof(Word));
      }
    };
    const std::uint64_t end = kIsInner ? first + kLanes : c_.num_columns;
    if constexpr (kJoin == Join::kByteOfTwo) {
      __m512i field = load(at.fixed);  // NOLINT(misc-const-correctness): may be changed below
      __asm__("" : "+v"(field));       // loaded once: it may cross a line
      at.fixed += kLanes;
      for_each_vector<Word>(first, end, [&](unsigned part, std::uint64_t, auto lanes) {
        const __m512i places = symbol_places(part);
        put(lanes,
            selected(c_.symbol_mask, _mm512_permutexvar_epi8(places, symbols), _mm512_permutexvar_epi8(places, field)));
      });
    } else {
      for_each_vector<Word>(first, end, [&](unsigned part, std::uint64_t, auto lanes) {
        __m512i field = _mm512_permutexvar_epi8(c_.from_byte, load(at.fixed));  // NOLINT(misc-const-correctness)
        at.fixed += c_.vector_plane_bytes;
        if constexpr (kJoin != Join::kWholeBytes) field = _mm512_multishift_epi64_epi8(c_.from_bit, field);
        put(lanes, word_of(field, symbols, part));
      });
    }
  }

  static constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c

  /// Symbols with their shifts.
  [[nodiscard]] __m512i shifted(__m512i symbols, __m512i row_shift, std::uint64_t first) const {
    symbols = _mm512_add_epi8(symbols, row_shift);
    if (c_.column_shifts == nullptr) return symbols;
    return _mm512_add_epi8(symbols, _mm512_loadu_si512(c_.column_shifts + first));
  }

  /// Which symbol each byte of a vector of words takes.
  static __m512i symbol_places(unsigned part) {
    constexpr unsigned kShift = sizeof(Word) / 2;  // log2 of 1, 2 and 4
    const __m512i word_in_part = _mm512_and_si512(_mm512_srli_epi16(lane_numbers(), kShift), byte_of(0x3FU >> kShift));
    return _mm512_or_si512(word_in_part, byte_of(64 / sizeof(Word) * part));
  }

  [[nodiscard]] __m512i word_of(__m512i field, __m512i symbols, unsigned part) const {
    const __m512i placed = sizeof(Word) == 1 ? symbols : _mm512_permutexvar_epi8(symbol_places(part), symbols);
    const __m512i symbol = _mm512_and_si512(placed, c_.symbol_mask);
    const __m512i word = _mm512_ternarylogic_epi64(field, c_.fixed_mask, symbol, kFirstUnderSecondOrThird);
    if constexpr (kJoin != Join::kAny) return word;
    return _mm512_ternarylogic_epi64(Lanes<Word>::shift_left(field, c_.sign_shift), c_.sign_mask, word,
                                     kFirstUnderSecondOrThird);
  }

  JoinConstants<Word> c_;
};

template <class Word, class Writer>
using JoinRow = std::uint64_t(const JoinConstants<Word>& constants, const StoredBytes& row, const std::uint8_t* symbols,
                              std::uint8_t shift, Writer& writer);

template <class Word, class Writer, Join kJoin, bool kIsTurned, unsigned kWidth>
std::uint64_t join_row(const JoinConstants<Word>& constants, const StoredBytes& row, const std::uint8_t* symbols,
                       std::uint8_t shift, Writer& writer) {
  return Joiner<Word, Writer, kJoin, kIsTurned, kWidth>(constants).join(row, symbols, shift, writer);
}

template <class Word, class Writer, Join kJoin, bool kIsTurned>
inline JoinRow<Word, Writer>* joining_with(const RowLayout& layout) {
  return layout.tier_bits[0] == 2 ? join_row<Word, Writer, kJoin, kIsTurned, 2>
                                  : join_row<Word, Writer, kJoin, kIsTurned, kAnyWidth>;
}

/// How words of a layout are joined.
template <class Word>
inline Join join_for(const RowLayout& layout) {
  if (!layout.unpacks_sign) return Join::kAny;
  if (!layout.unpacking.is_whole_bytes) return Join::kSignInPlace;
  const bool is_byte_of_two = sizeof(Word) == 2 && layout.shape.fixed_bits == 8 && layout.shape.sign_bits == 1;
  return is_byte_of_two ? Join::kByteOfTwo : Join::kWholeBytes;
}

/// What puts rows of this layout together.
template <class Word, class Writer, bool kIsTurned>
inline JoinRow<Word, Writer>* joining(const RowLayout& layout) {
  switch (join_for<Word>(layout)) {
    case Join::kAny:
      return joining_with<Word, Writer, Join::kAny, kIsTurned>(layout);
    case Join::kSignInPlace:
      return joining_with<Word, Writer, Join::kSignInPlace, kIsTurned>(layout);
    case Join::kByteOfTwo:
      if constexpr (sizeof(Word) == 2) return joining_with<Word, Writer, Join::kByteOfTwo, kIsTurned>(layout);
      [[fallthrough]];
    default:
      return joining_with<Word, Writer, Join::kWholeBytes, kIsTurned>(layout);
  }
}

/// Joins rows of any layout, by a function that is chosen once.
template <class Word, class Writer>
class AnyJoiner {
 public:
  AnyJoiner(const RowLayout& layout, bool is_turned, bool in_parts)
      : constants_(layout, is_turned, in_parts),
        join_row_(is_turned ? joining<Word, Writer, true>(layout) : joining<Word, Writer, false>(layout)) {}

  std::uint64_t join(const StoredBytes& row, const std::uint8_t* next, std::uint8_t shift, Writer& writer) const {
    return join_row_(constants_, row, next, shift, writer);
  }

 private:
  JoinConstants<Word> constants_;
  JoinRow<Word, Writer>* join_row_;
};
