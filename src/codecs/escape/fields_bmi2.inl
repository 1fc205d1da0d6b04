// Fixed fields by BMI2's deposit and extract, for the instruction sets that have them.

/// The place of a word's fixed field in it, for each word of 8 bytes.
template <class Word>
inline std::uint64_t field_places(const WordShape& shape) {
  const std::uint64_t place = shape.rest_mask << shape.dropped_bits | shape.sign_mask;
  constexpr std::uint64_t kEachWord = sizeof(Word) == 8 ? 1 : ~std::uint64_t{0} / static_cast<Word>(~Word{0});
  return place * kEachWord;
}

/// As in stages.inl, 8 bytes of words at a time: what is extracted is their fields, in order.
template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  constexpr unsigned kWords = 8 / sizeof(Word);
  const WordShape shape = layout.shape;
  const std::uint64_t places = field_places<Word>(shape);
  FieldWriter writer{dst};
  std::uint64_t i = 0;
  for (; i + kWords <= layout.num_columns; i += kWords)
    writer.put(_pext_u64(load<std::uint64_t>(row + i * sizeof(Word)), places), kWords * shape.fixed_bits);
  for (; i < layout.num_columns; ++i)
    writer.put(fixed_field(shape, load<Word>(row + i * sizeof(Word))), shape.fixed_bits);
}

/// Deposits the fields of 8 bytes of words at a time, and the symbols above them.
template <class Word>
inline void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols,
                        std::byte* dst) {
  constexpr unsigned kWords = 8 / sizeof(Word);
  const WordShape shape = layout.shape;
  const std::uint64_t places = field_places<Word>(shape);
  const std::uint64_t num_columns = layout.num_columns;
  const auto fields_from = [&](std::uint64_t i) {
    const std::uint64_t bit = i * shape.fixed_bits;
    return load<std::uint64_t>(fixed + bit / 8) >> (bit % 8);
  };
  std::uint64_t i = 0;
  for (; i + kWords <= num_columns; i += kWords) {
    std::uint64_t placed;
    if constexpr (sizeof(Word) == 8) {
      placed = std::uint64_t{symbols[i]} << shape.symbol_at;
    } else if constexpr (sizeof(Word) == 1) {
      placed = load<std::uint64_t>(reinterpret_cast<const std::byte*>(symbols + i)) << shape.symbol_at;
    } else {
      // A byte for each symbol becomes a word for each: of the bytes that are loaded those behind the last are not
      // used.
      constexpr std::uint64_t kEachWord = ~std::uint64_t{0} / static_cast<Word>(~Word{0});
      const auto bytes = load<std::uint32_t>(reinterpret_cast<const std::byte*>(symbols + i));
      placed = _pdep_u64(bytes, 0xFF * kEachWord) << shape.symbol_at;
    }
    store(dst + i * sizeof(Word), _pdep_u64(fields_from(i), places) | placed);
  }
  for (; i < num_columns; ++i)
    store(dst + i * sizeof(Word), join_word<Word>(shape, fields_from(i) & low_mask(shape.fixed_bits), symbols[i]));
}
