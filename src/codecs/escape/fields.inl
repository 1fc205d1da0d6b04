// Fixed fields in plain C++, for any instruction set, behind fields/plane.inl.

/// Puts the fixed fields of a row at `dst`, one after the other. 8 bytes behind them must be writable.
template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const WordShape shape = layout.shape;
  put_fields(dst, layout.num_columns, shape.fixed_bits,
             [&](std::uint64_t i) { return fixed_field(shape, load<Word>(row + i * sizeof(Word))); });
}

/// Joins fixed fields and symbols to the words of a row.
template <class Word>
inline void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols,
                        std::byte* dst) {
  const WordShape shape = layout.shape;
  take_fields(fixed, layout.num_columns, shape.fixed_bits, [&](std::uint64_t i, std::uint64_t field) {
    store(dst + i * sizeof(Word), join_word<Word>(shape, field, symbols[i]));
  });
}
