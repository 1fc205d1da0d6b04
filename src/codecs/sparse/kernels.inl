// The loops of codec sparse. Included once per instruction set, behind values.inl, inside a namespace that supplies:
//
//   differ_bits<Word>(a, b): bit i is 1 where lane i of two vectors differs
//   select_bit(word, rank): the place of the one that has `rank` ones below it; any number below 64 where there is none
//   expand<Word>(layout, values, src, upper_bits, dst): what expand_one_by_one of elements.inl does
//
// Layouts are copied into the loops: what is written through `dst` could otherwise change them, as far as a compiler
// knows, and each field would be read again for every word.

/// Bit i is what `test` gives for the word in column `first` + i: 64 columns, or those that there are. Reads nothing
/// outside the row. `test` maps a vector to a bit for each lane.
template <class Word, class Test>
inline __attribute__((always_inline)) std::uint64_t test_columns(const std::byte* row, std::uint64_t num_columns,
                                                                 std::uint64_t first, Test test) {
  constexpr unsigned kLanes = kVectorBytes / sizeof(Word);
  const std::byte* src = row + first * sizeof(Word);
  std::uint64_t bits = 0;
  if (first + 64 <= num_columns) {
    for (unsigned lane = 0; lane < 64; lane += kLanes) {
      bits |= test(load_vector<Word>(src + lane * sizeof(Word))) << lane;
    }
    return bits;
  }
  const auto num_left = static_cast<unsigned>(num_columns - first);
  unsigned lane = 0;
  for (; lane + kLanes <= num_left; lane += kLanes) {
    bits |= test(load_vector<Word>(src + lane * sizeof(Word))) << lane;
  }
  if (lane == num_left) return bits;
  if (num_columns < kLanes) {
    Vector<Word> words = {};
    __builtin_memcpy(&words, row, num_columns * sizeof(Word));
    return test(words) & low_ones(num_columns);
  }
  // The row's last vector, without the lanes that were looked at before.
  const std::uint64_t last = test(load_vector<Word>(row + (num_columns - kLanes) * sizeof(Word)));
  return bits | last >> (kLanes - (num_left - lane)) << lane;
}

/// Bit i is 1 where the word in column `first` + i differs from the word that all lanes of `expected` hold.
template <class Word>
inline std::uint64_t differing_columns(const std::byte* row, std::uint64_t num_columns, std::uint64_t first,
                                       Vector<Word> expected) {
  return test_columns<Word>(row, num_columns, first,
                            [&](Vector<Word> words) { return differ_bits<Word>(words, expected); });
}

/// Which of the columns `first` + i, of those that are `present`, hold words that have no code.
template <class Word>
inline std::uint64_t columns_without_code(const SingleValue<Word>& values, const std::byte* row,
                                          std::uint64_t num_columns, std::uint64_t first, std::uint64_t present) {
  return present & differing_columns<Word>(row, num_columns, first, vector_of<Word>(values.value));
}

template <class Word>
inline std::uint64_t columns_without_code(const Window<Word>& values, const std::byte* row, std::uint64_t num_columns,
                                          std::uint64_t first, std::uint64_t present) {
  return present & test_columns<Word>(row, num_columns, first, [&](Vector<Word> words) {
           const Vector<Word> magnitude =
               words << static_cast<Word>(values.sign_bits) >> static_cast<Word>(values.drop_bits);
           const Vector<Word> offset = (magnitude - vector_of<Word>(values.base)) & vector_of<Word>(values.offset_mask);
           const auto has_none = (offset > vector_of<Word>(values.max_offset)) | ((words & values.zero_mask) != 0);
           return differ_bits<Word>((Vector<Word>)has_none, Vector<Word>{});
         });
}

template <class Word>
inline std::uint64_t columns_without_code(const Dictionary<Word>& values, const std::byte* row, std::uint64_t,
                                          std::uint64_t first, std::uint64_t present) {
  std::uint64_t without = 0;
  for (; present != 0; present &= present - 1) {
    const unsigned i = lowest_one(present);
    const auto word = load<Word>(row + (first + i) * sizeof(Word));
    without |= std::uint64_t{values.has_code(word) ? 0U : 1U} << i;
  }
  return without;
}

/// Calls `visit(column, word)` for each word of the row that is not the background, in order, until it returns false.
template <class Word, class Visit>
inline __attribute__((always_inline)) void for_each_present(const RowLayout& layout, const std::byte* row,
                                                            Visit visit) {
  const std::uint64_t num_columns = layout.num_columns;
  const Vector<Word> background = vector_of<Word>(layout.background);
  for (std::uint64_t first = 0; first < num_columns; first += 64) {
    std::uint64_t present = differing_columns<Word>(row, num_columns, first, background);
    for (; present != 0; present &= present - 1) {
      const std::uint64_t column = first + lowest_one(present);
      if (!visit(column, load<Word>(row + column * sizeof(Word)))) return;
    }
  }
}

template <class Word, class Values>
inline RowCounts count_row(const RowLayout& layout, const Values& values, const std::byte* row) {
  const std::uint64_t num_columns = layout.num_columns;
  const Vector<Word> background = vector_of<Word>(layout.background);
  std::uint64_t num_present = 0;
  std::uint64_t num_exceptions = 0;
  for (std::uint64_t first = 0; first < num_columns; first += 64) {
    const std::uint64_t present = differing_columns<Word>(row, num_columns, first, background);
    if (present == 0) continue;
    const std::uint64_t without = columns_without_code(values, row, num_columns, first, present);
    num_present += static_cast<unsigned>(__builtin_popcountll(present));
    num_exceptions += static_cast<unsigned>(__builtin_popcountll(without));
  }
  return {static_cast<std::uint32_t>(num_present - num_exceptions), static_cast<std::uint32_t>(num_exceptions)};
}

template <class Word>
void count(const RowLayout& shared_layout, const std::byte* rows, std::uint64_t num_rows, RowCounts* counts) {
  const RowLayout layout = shared_layout;
  with_values<Word>(layout, [&](const auto& values) {
    for (std::uint64_t i = 0; i < num_rows; ++i)
      counts[i] = count_row<Word>(layout, values, rows + i * layout.row_bytes);
  });
}

/// The stored size of a row that holds what was counted.
inline std::uint64_t stored_bytes(const RowLayout& layout, RowCounts counts) {
  const RowPrice& price = layout.price;
  const std::uint64_t num_bits =
      price.fixed_bits + counts.num_elements * price.element_bits + counts.num_exceptions * price.exception_bits;
  const std::uint64_t num_bytes = (num_bits + 7) / 8;
  return num_bytes < layout.row_bytes ? num_bytes : layout.row_bytes;
}

template <class Word>
void measure(const RowLayout& shared_layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  const RowLayout layout = shared_layout;
  with_values<Word>(layout, [&](const auto& values) {
    for (std::uint64_t i = 0; i < num_rows; ++i) {
      const RowCounts counts = count_row<Word>(layout, values, rows + i * layout.row_bytes);
      sizes[i] = static_cast<std::uint32_t>(stored_bytes(layout, counts));
    }
  });
}

template <class Word>
std::uint64_t collect(const RowLayout& layout, const std::byte* row, std::uint64_t capacity, std::uint64_t* dst) {
  std::uint64_t num_words = 0;
  for_each_present<Word>(layout, row, [&](std::uint64_t, Word word) {
    if (num_words == capacity) return false;
    dst[num_words++] = word;
    return true;
  });
  return num_words;
}

/// Appends fields of up to 64 bits to a bit stream. Writes whole words: 8 bytes behind the stream must be writable.
struct FieldWriter {
  std::byte* dst;
  unsigned num_pending;       ///< 0 to 63
  std::uint64_t pending = 0;  ///< the stream's last bits, not yet written for good

  void put(std::uint64_t bits, unsigned num_bits) {
    const std::uint64_t word = pending | bits << num_pending;
    store(dst, word);
    const unsigned total = num_pending + num_bits;
    const std::uint64_t carried = bits >> 1 >> (63 - num_pending);
    pending = total >= 64 ? carried : word;
    dst += total / 64 * 8;
    num_pending = total % 64;
  }

  void finish() { store(dst, pending); }
};

/// Sets bits of a stream of zeros, each behind the one before it. `finish` reads and writes the whole word that the
/// last bit is in.
struct BitSetter {
  std::byte* dst;
  std::uint64_t word = 0;
  std::uint64_t at = 0;  ///< which word of the stream `word` is

  void set(std::uint64_t bit) {
    if (bit / 64 != at) {
      store(dst + 8 * at, word);
      word = 0;
      at = bit / 64;
    }
    word |= std::uint64_t{1} << (bit % 64);
  }

  void finish() { store(dst + 8 * at, load<std::uint64_t>(dst + 8 * at) | word); }
};

template <class Word, class Values>
std::uint64_t encode_row(const RowLayout& layout, const Values& values, const std::byte* row, std::byte* dst) {
  const RowCounts counts = count_row<Word>(layout, values, row);
  const std::uint64_t num_bytes = stored_bytes(layout, counts);
  if (num_bytes == layout.row_bytes) {
    __builtin_memcpy(dst, row, num_bytes);
    return num_bytes;
  }
  const bool is_bitmap = layout.low_bits == 0;
  const unsigned low_bits = layout.low_bits % 32;  // at most 20 as it is
  const unsigned code_bits = layout.code_bits;
  const std::uint64_t upper_bits = is_bitmap ? layout.num_columns : layout.num_buckets + counts.num_elements;
  __builtin_memset(dst, 0, upper_bits / 8);
  BitSetter upper{dst};
  // Fields start inside the word that the upper parts end in: that word is completed when all fields are written.
  FieldWriter fields{dst + upper_bits / 8, static_cast<unsigned>(upper_bits % 8)};
  std::uint64_t num_elements = 0;
  for_each_present<Word>(layout, row, [&](std::uint64_t column, Word word) {
    if (counts.num_exceptions > 0 && !values.has_code(word)) return true;
    upper.set(is_bitmap ? column : (column >> low_bits) + num_elements);
    ++num_elements;
    const std::uint64_t low = column & low_ones(low_bits);
    if constexpr (sizeof(Word) == 8) {
      fields.put(low, low_bits);
      fields.put(values.code_of(word), code_bits);
    } else {
      fields.put(low | values.code_of(word) << low_bits, low_bits + code_bits);
    }
    return true;
  });
  if (counts.num_exceptions > 0) {
    for_each_present<Word>(layout, row, [&](std::uint64_t column, Word word) {
      if (values.has_code(word)) return true;
      fields.put(1 | column << 1, 1 + layout.column_bits);
      fields.put(word, 8 * sizeof(Word));
      return true;
    });
  }
  fields.put(0, 1);
  fields.finish();
  upper.finish();
  return num_bytes;
}

template <class Word>
std::uint64_t encode(const RowLayout& shared_layout, const std::byte* row, std::byte* dst) {
  const RowLayout layout = shared_layout;
  return with_values<Word>(layout, [&](const auto& values) { return encode_row<Word>(layout, values, row, dst); });
}

/// Where the upper parts of a row end: behind the zero that ends the last bucket. 0 when the row ends before.
inline std::uint64_t upper_end(const std::byte* src, std::uint64_t num_bytes, std::uint64_t num_buckets) {
  std::uint64_t num_missing = num_buckets;
  for (std::uint64_t offset = 0; offset < num_bytes; offset += 8) {
    const std::uint64_t zeros = ~load<std::uint64_t>(src + offset);
    const auto num_zeros = static_cast<unsigned>(__builtin_popcountll(zeros));
    if (num_zeros >= num_missing) return 8 * offset + select_bit(zeros, static_cast<unsigned>(num_missing - 1)) + 1;
    num_missing -= num_zeros;
  }
  return 0;
}

/// Writes the exceptions, whose first flag is at `bit_offset`, over what the row's other words are.
template <class Word>
inline bool decode_exceptions(const RowLayout& layout, const std::byte* src, std::uint64_t num_bits,
                              std::uint64_t bit_offset, std::byte* dst) {
  std::uint64_t next_column = 0;
  while ((load_stream(src, bit_offset) & 1) != 0) {
    const std::uint64_t column = load_stream(src, bit_offset + 1) & low_ones(layout.column_bits);
    const std::uint64_t word = load_stream_word(src, bit_offset + 1 + layout.column_bits);
    bit_offset += layout.price.exception_bits;
    if (bit_offset >= num_bits || column < next_column || column >= layout.num_columns) return false;
    next_column = column + 1;
    store(dst + column * sizeof(Word), static_cast<Word>(word));
  }
  return true;
}

template <class Word, class Values>
inline bool decode_row(const RowLayout& layout, const Values& values, const StoredRow& row, std::byte* dst) {
  const std::uint64_t num_columns = layout.num_columns;
  const std::uint64_t num_bits = 8 * row.num_bytes;
  if (row.num_bytes < layout.minimum_row_bytes) return false;

  std::uint64_t upper_bits = num_columns;
  std::uint64_t num_elements = 0;
  if (layout.low_bits == 0) {
    for (std::uint64_t first = 0; first < num_columns; first += 64) {
      const std::uint64_t present = load<std::uint64_t>(row.data + first / 8) & low_ones(num_columns - first);
      num_elements += static_cast<unsigned>(__builtin_popcountll(present));
    }
  } else {
    upper_bits = upper_end(row.data, row.num_bytes, layout.num_buckets);
    if (upper_bits == 0) return false;
    num_elements = upper_bits - layout.num_buckets;
  }
  const std::uint64_t exceptions_offset = upper_bits + num_elements * (layout.low_bits + layout.code_bits);
  if (exceptions_offset >= num_bits) return false;
  return expand<Word>(layout, values, row.data, upper_bits, dst) &&
         decode_exceptions<Word>(layout, row.data, num_bits, exceptions_offset, dst);
}

template <class Word>
std::uint64_t decode(const RowLayout& shared_layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  const RowLayout layout = shared_layout;
  return with_values<Word>(layout, [&](const auto& values) {
    for (std::uint64_t i = 0; i < num_rows; ++i, dst += layout.row_bytes) {
      if (rows[i].is_raw) {
        __builtin_memcpy(dst, rows[i].data, layout.row_bytes);
      } else if (!decode_row<Word>(layout, values, rows[i], dst)) {
        return i;
      }
    }
    return num_rows;
  });
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word>, count<Word>, collect<Word>};
