// Fixed fields in plain C++, for any instruction set, behind fields/plane.inl.

/// Puts the fixed fields of a row at `dst`, one after the other. 8 bytes behind them must be writable.
template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const WordShape shape = layout.shape;
  put_fields(dst, layout.num_columns, shape.fixed_bits,
             [&](std::uint64_t i) { return fixed_field(shape, load<Word>(row + i * sizeof(Word))); });
}

/// 16 bytes of words, and how they are loaded. Plain loops over words are not made vectors of by compilers: they do not
/// see that nothing is lost when shifts are done in the words' own width.
template <class Word>
struct WordVector;

template <>
struct WordVector<std::uint16_t> {
  typedef std::uint16_t Words __attribute__((vector_size(16)));
  typedef std::uint8_t Bytes __attribute__((vector_size(8)));
  static constexpr unsigned kFieldBits = 8;

  static Words all(std::uint64_t value) { return Words{} + static_cast<std::uint16_t>(value); }
  static Words fields(const std::byte* src) { return symbols(reinterpret_cast<const std::uint8_t*>(src)); }
  static Words symbols(const std::uint8_t* src) {
    Bytes bytes;
    __builtin_memcpy(&bytes, src, sizeof(bytes));
    return __builtin_convertvector(bytes, Words);
  }
};

template <>
struct WordVector<std::uint32_t> {
  typedef std::uint32_t Words __attribute__((vector_size(16)));
  static constexpr unsigned kFieldBits = 24;

  static Words all(std::uint64_t value) { return Words{} + static_cast<std::uint32_t>(value); }
  /// What is above a field has no meaning.
  static Words fields(const std::byte* src) {
    return Words{load<std::uint32_t>(src), load<std::uint32_t>(src + 3), load<std::uint32_t>(src + 6),
                 load<std::uint32_t>(src + 9)};
  }
  static Words symbols(const std::uint8_t* src) { return Words{src[0], src[1], src[2], src[3]}; }
};

/// Joins fields of kFieldBits bits, as many as fill whole vectors. Returns how many.
template <class Word>
inline std::uint64_t join_byte_fields(const WordShape& shape, std::uint64_t num_columns, const std::byte* fixed,
                                      const std::uint8_t* symbols, std::byte* dst) {
  using Vector = WordVector<Word>;
  using Words = typename Vector::Words;
  constexpr unsigned kWords = sizeof(Words) / sizeof(Word);
  const Words rest_mask = Vector::all(shape.rest_mask);
  const Words sign_mask = Vector::all(shape.sign_mask);
  const auto dropped_bits = static_cast<Word>(shape.dropped_bits);
  const auto symbol_at = static_cast<Word>(shape.symbol_at);
  const auto sign_shift = static_cast<Word>(shape.sign_shift);
  std::uint64_t first = 0;
  for (; first + kWords <= num_columns; first += kWords, fixed += kWords * Vector::kFieldBits / 8) {
    const Words field = Vector::fields(fixed);
    const Words words = (field & rest_mask) << dropped_bits | Vector::symbols(symbols + first) << symbol_at |
                        (field << sign_shift & sign_mask);
    __builtin_memcpy(dst + first * sizeof(Word), &words, sizeof(words));
  }
  return first;
}

/// Joins fixed fields and symbols to the words of a row.
template <class Word>
inline void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols,
                        std::byte* dst) {
  const WordShape shape = layout.shape;
  std::uint64_t first = 0;
  if constexpr (sizeof(Word) == 2 || sizeof(Word) == 4) {
    if (shape.fixed_bits == WordVector<Word>::kFieldBits)
      first = join_byte_fields<Word>(shape, layout.num_columns, fixed, symbols, dst);
  }
  const std::byte* const src = fixed + first * shape.fixed_bits / 8;
  take_fields(src, layout.num_columns - first, shape.fixed_bits, [&](std::uint64_t i, std::uint64_t field) {
    store(dst + (first + i) * sizeof(Word), join_word<Word>(shape, field, symbols[first + i]));
  });
}
