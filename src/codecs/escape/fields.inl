// Fixed fields in plain C++, for any instruction set.

/// Puts the fixed fields of a row at `dst`, one after the other. 8 bytes behind them must be writable.
template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const WordShape shape = layout.shape;
  const std::uint64_t num_columns = layout.num_columns;
  const auto field_of = [&](std::uint64_t i) { return fixed_field(shape, load<Word>(row + i * sizeof(Word))); };
  if (shape.fixed_bits == 8) {
    for (std::uint64_t i = 0; i < num_columns; ++i) dst[i] = static_cast<std::byte>(field_of(i));
    return;
  }
  if (shape.fixed_bits % 8 == 0 && shape.fixed_bits > 0) {
    // What a store writes too much the next one writes again; behind the last there is room.
    const std::uint64_t field_bytes = shape.fixed_bits / 8;
    for (std::uint64_t i = 0; i < num_columns; ++i) store(dst + i * field_bytes, field_of(i));
    return;
  }
  FieldWriter writer{dst};
  for (std::uint64_t i = 0; i < num_columns; ++i) writer.put(field_of(i), shape.fixed_bits);
}

/// Joins fixed fields and symbols to the words of a row.
template <class Word>
inline void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols,
                        std::byte* dst) {
  const WordShape shape = layout.shape;
  const std::uint64_t num_columns = layout.num_columns;
  const auto join = [&](std::uint64_t i, std::uint64_t field) {
    store(dst + i * sizeof(Word), join_word<Word>(shape, field, symbols[i]));
  };
  if (shape.fixed_bits == 8) {
    for (std::uint64_t i = 0; i < num_columns; ++i) join(i, static_cast<std::uint8_t>(fixed[i]));
    return;
  }
  if (shape.fixed_bits == 24) {
    for (std::uint64_t i = 0; i < num_columns; ++i) join(i, load<std::uint32_t>(fixed + 3 * i) & 0xFFFFFF);
    return;
  }
  const std::uint64_t mask = low_mask(shape.fixed_bits);
  for (std::uint64_t i = 0, bit = 0; i < num_columns; ++i, bit += shape.fixed_bits)
    join(i, load<std::uint64_t>(fixed + bit / 8) >> (bit % 8) & mask);
}
