// Fixed fields by BMI2, behind fields/plane_bmi2.inl.

template <class Word>
inline void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const std::uint64_t place = layout.shape.rest_mask << layout.shape.dropped_bits | layout.shape.sign_mask;
  extract_fields<Word>(row, layout.num_columns, place, layout.shape.fixed_bits, dst);
}

/// Deposits the fields of 8 bytes of words at a time, and the symbols above them.
template <class Word>
inline void put_words(const RowLayout& layout, const std::byte* fixed, const std::uint8_t* indices, std::uint64_t count,
                      std::byte* dst) {
  const WordShape shape = layout.shape;
  const SymbolRuns runs = layout.runs;
  const std::uint64_t places = in_each_word<Word>(shape.rest_mask << shape.dropped_bits | shape.sign_mask);
  const std::uint64_t rest_mask = low_mask(shape.fixed_bits);
  const auto placed = [&](std::uint64_t i) {
    return (symbol_at_index(runs, indices[i]) & shape.symbol_mask) << shape.symbol_at;
  };
  const auto join_group = [&](std::uint64_t i, std::uint64_t fields) {
    std::uint64_t symbols = 0;
    for (unsigned j = 0; j < 8 / sizeof(Word); ++j) symbols |= placed(i + j) << (8 * sizeof(Word) * j);
    store(dst + i * sizeof(Word), _pdep_u64(fields, places) | symbols);
  };
  const auto join_one = [&](std::uint64_t i, std::uint64_t field) {
    store(dst + i * sizeof(Word), join_word<Word>(shape, field & rest_mask, placed(i) >> shape.symbol_at));
  };
  take_groups<Word>(fixed, count, shape.fixed_bits, join_group, join_one);
}
