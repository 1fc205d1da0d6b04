// Expands the upper parts and the fields of a row, element after element. Included once per instruction set.

/// Fills a row with one word.
template <class Word>
inline void fill_row(std::byte* dst, std::uint64_t row_bytes, std::uint64_t word) {
  const Vector<Word> vector = vector_of<Word>(word);
  if (row_bytes < kVectorBytes) {
    __builtin_memcpy(dst, &vector, row_bytes);
    return;
  }
  std::uint64_t offset = 0;
  for (; offset + 4 * kVectorBytes <= row_bytes; offset += 4 * kVectorBytes) {
    for (unsigned i = 0; i < 4; ++i) __builtin_memcpy(dst + offset + i * kVectorBytes, &vector, kVectorBytes);
  }
  for (; offset + kVectorBytes <= row_bytes; offset += kVectorBytes) {
    __builtin_memcpy(dst + offset, &vector, kVectorBytes);
  }
  __builtin_memcpy(dst + row_bytes - kVectorBytes, &vector, kVectorBytes);
}

/// Writes the row without its exceptions. Its upper parts have `upper_bits` bits; all its fields can be read. False
/// when it is malformed.
template <class Word, class Values>
inline bool expand_one_by_one(const RowLayout& layout, const Values& values, const std::byte* src,
                              std::uint64_t upper_bits, std::byte* dst) {
  fill_row<Word>(dst, layout.row_bytes, layout.background);
  const bool is_bitmap = layout.low_bits == 0;
  const unsigned low_bits = layout.low_bits % 32;  // at most 20 as it is
  const unsigned field_bits = low_bits + layout.code_bits;
  const std::uint64_t num_columns = layout.num_columns;
  const std::uint64_t low_mask = low_ones(low_bits);
  const std::uint64_t code_mask = low_ones(layout.code_bits);
  std::uint64_t bit_offset = upper_bits;
  std::uint64_t next_column = 0;
  std::uint64_t num_before = 0;
  for (std::uint64_t first = 0; first < upper_bits; first += 64) {
    std::uint64_t ones = load<std::uint64_t>(src + first / 8) & low_ones(upper_bits - first);
    for (; ones != 0; ones &= ones - 1, bit_offset += field_bits) {
      Word word = 0;
      const std::uint64_t field = load_stream(src, bit_offset);
      const std::uint64_t code = sizeof(Word) == 8 ? load_stream_word(src, bit_offset + low_bits) : field >> low_bits;
      if (!values.word_of(code & code_mask, word)) return false;
      std::uint64_t column = first + lowest_one(ones);
      if (!is_bitmap) {
        // The zeros below say which bucket; the ones below belong to the elements before.
        column = (column - num_before++) << low_bits | (field & low_mask);
        if (column < next_column || column >= num_columns) return false;
        next_column = column + 1;
      }
      store(dst + column * sizeof(Word), word);
    }
  }
  return true;
}
