// Fixed fields by BMI2, behind fields/plane_bmi2.inl.

/// The place of a word's fixed field in it.
inline std::uint64_t field_place(const WordShape& shape) {
  return shape.rest_mask << shape.dropped_bits | shape.sign_mask;
}

template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  extract_fields<Word>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
}

/// Deposits the fields of 8 bytes of words at a time, and the symbols above them.
template <class Word>
inline void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols,
                        std::byte* dst) {
  const WordShape shape = layout.shape;
  const std::uint64_t places = in_each_word<Word>(field_place(shape));
  const auto join_group = [&](std::uint64_t i, std::uint64_t fields) {
    std::uint64_t placed;
    if constexpr (sizeof(Word) == 8) {
      placed = std::uint64_t{symbols[i]} << shape.symbol_at;
    } else if constexpr (sizeof(Word) == 1) {
      placed = load<std::uint64_t>(reinterpret_cast<const std::byte*>(symbols + i)) << shape.symbol_at;
    } else {
      // A byte for each symbol becomes a word for each: of the bytes that are loaded those behind the last are not
      // used.
      const auto bytes = load<std::uint32_t>(reinterpret_cast<const std::byte*>(symbols + i));
      placed = _pdep_u64(bytes, in_each_word<Word>(0xFF)) << shape.symbol_at;
    }
    store(dst + i * sizeof(Word), _pdep_u64(fields, places) | placed);
  };
  const auto join_one = [&](std::uint64_t i, std::uint64_t field) {
    store(dst + i * sizeof(Word), join_word<Word>(shape, field & low_mask(shape.fixed_bits), symbols[i]));
  };
  take_groups<Word>(fixed, layout.num_columns, shape.fixed_bits, join_group, join_one);
}
