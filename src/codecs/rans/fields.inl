// Fixed fields in plain C++, for any instruction set, behind fields/plane.inl.

/// Puts the fixed fields of a row at `dst`, one after the other. 8 bytes behind them must be writable.
template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const WordShape shape = layout.shape;
  put_fields(dst, layout.num_columns, shape.fixed_bits,
             [&](std::uint64_t i) { return fixed_field(shape, load<Word>(row + i * sizeof(Word))); });
}

/// Joins fixed fields and symbols to `count` words, a block of them unless they are the row's last.
template <class Word>
inline void put_words(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices, std::uint64_t count,
                      std::byte* dst) {
  const WordShape shape = layout.shape;
  const SymbolRuns runs = layout.runs;
  take_fields(fixed, count, shape.fixed_bits, [&](std::uint64_t i, std::uint64_t field) {
    const std::uint64_t symbol = symbol_at_index(runs, indices[i]) & shape.symbol_mask;
    store(dst + i * sizeof(Word), join_word<Word>(shape, field, symbol));
  });
}
