// The loops of codec ibp. Included once per instruction set, inside a namespace that supplies:
//
//   extract_bits(word, mask), deposit_bits(bits, mask)
//   agree_bits<Word>(Vector<Word> differences): bit i is 1 where lane i is 0
//
// and behind it gather_free_bits and spread_free_bits, which are declared here (free_bits_bmi2.inl,
// free_bits_portable.inl), and whether these want moves (kWantsMoves).
//
// Masks are taken by value: what is written through `dst` could otherwise change their pointers, as far as a compiler
// knows, and each would be read again for every word.
//
// Free bits are moved eight bytes at a time whatever the view is: words lie in a row, and their free bits in the stored
// row, from the low end up, so that the bits of neighbouring words can be extracted and deposited together.

constexpr unsigned kVectorBytes = 32;

template <class Word>
struct VectorOf {
  typedef Word Type __attribute__((vector_size(kVectorBytes)));
};
template <class Word>
using Vector = typename VectorOf<Word>::Type;

/// Vectors whose per-lane sums of patch bits still fit a lane: 31 × 8 bits in a byte; far more in wider words.
template <class Word>
constexpr unsigned kVectorsPerSum = sizeof(Word) == 1 ? 31 : 1024;

template <class Word>
inline Vector<Word> load_vector(const void* src) {
  Vector<Word> vector;
  __builtin_memcpy(&vector, src, kVectorBytes);
  return vector;
}

/// The bytes of one row at `offset`, or those of it that there are and zeros: the row's last vector may end beyond it.
template <class Word>
inline Vector<Word> load_row(const std::byte* row, std::uint64_t offset, std::uint64_t readable) {
  if (offset + kVectorBytes <= readable) return load_vector<Word>(row + offset);
  Vector<Word> vector = {};
  __builtin_memcpy(&vector, row + offset, readable - offset);
  return vector;
}

/// Goes over a row of which `readable` bytes can be read (row_bytes, or more when other rows follow). Calls
/// `visit(deviation)` for each vector, with lanes that are 0 where the word agrees, and returns the row's stored size.
template <class Word, class Visit>
inline __attribute__((always_inline)) std::uint64_t compare_row(const RowMasks masks, const std::byte* row,
                                                                std::uint64_t readable, Visit visit) {
  constexpr unsigned kLanes = kVectorBytes / sizeof(Word);
  Vector<Word> broken = {};
  std::uint64_t num_bits = masks.num_static_bits;
  for (std::uint64_t offset = 0; offset < masks.row_bytes;) {
    Vector<Word> patch_bits = {};
    for (unsigned i = 0; i < kVectorsPerSum<Word> && offset < masks.row_bytes; ++i, offset += kVectorBytes) {
      const Vector<Word> difference = load_row<Word>(row, offset, readable) ^ load_vector<Word>(masks.value + offset);
      broken |= difference & load_vector<Word>(masks.constant + offset);
      const Vector<Word> deviation = difference & load_vector<Word>(masks.patch + offset);
      patch_bits += (Vector<Word>)(deviation != 0) & load_vector<Word>(masks.patch_bits + offset);
      visit(deviation);
    }
    for (unsigned lane = 0; lane < kLanes; ++lane) num_bits += patch_bits[lane];
  }
  Word any = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) any = static_cast<Word>(any | broken[lane]);
  const std::uint64_t num_bytes = (num_bits + 7) / 8;
  return any != 0 || num_bytes >= masks.row_bytes ? masks.row_bytes : num_bytes;
}

template <class Word>
void measure(const RowMasks& masks, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    const std::uint64_t size =
        compare_row<Word>(masks, rows + i * masks.row_bytes, (num_rows - i) * masks.row_bytes, [](const auto&) {});
    sizes[i] = static_cast<std::uint32_t>(size);
  }
}

/// Appends fields of up to 64 bits to a bit stream. Writes whole words: 8 bytes behind the stream must be writable.
struct BitWriter {
  std::byte* dst;
  std::uint64_t pending = 0;  ///< the stream's last bits, not yet written for good
  unsigned num_pending = 0;   ///< 0 to 63

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

/// One word of a row, at `offset`: the part of it that there is, and zeros.
inline std::uint64_t load_row_word(const std::byte* row, std::uint64_t offset, std::uint64_t row_bytes) {
  if (offset + 8 <= row_bytes) return load<std::uint64_t>(row + offset);
  std::uint64_t word = 0;
  __builtin_memcpy(&word, row + offset, row_bytes - offset);
  return word;
}

/// Appends the free bits of a row to a stream.
void gather_free_bits(const RowMasks& masks, const std::byte* row, BitWriter& writer);
/// Joins the free bits of a stored row, and the values of the bits that are not free.
void spread_free_bits(const RowMasks& masks, const std::byte* src, std::byte* dst);

/// Calls `body(column)` for each checked column whose participation bit is 0, in order, until it returns false.
template <class Body>
inline bool for_each_deviating(const RowMasks& masks, const std::byte* participation, Body body) {
  const std::uint64_t num_checked = masks.num_checked;
  for (std::uint64_t first = 0; first < num_checked; first += 64) {
    const std::uint64_t left = num_checked - first;
    const std::uint64_t present = left >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
    std::uint64_t deviating = ~load<std::uint64_t>(participation + first / 8) & present;
    for (; deviating != 0; deviating &= deviating - 1) {
      if (!body(masks.checked_columns[first + static_cast<unsigned>(__builtin_ctzll(deviating))])) return false;
    }
  }
  return true;
}

template <class Word>
std::uint64_t encode(const RowMasks& shared_masks, const std::byte* row, std::byte* dst) {
  const RowMasks masks = shared_masks;
  const std::uint64_t row_bytes = masks.row_bytes;
  BitWriter writer{dst};
  std::uint64_t agree = 0;
  unsigned filled = 0;
  const std::uint64_t* checked = masks.checked;
  const auto flush = [&] {
    writer.put(extract_bits(agree, *checked), static_cast<unsigned>(__builtin_popcountll(*checked)));
    ++checked;
    agree = 0;
    filled = 0;
  };
  const std::uint64_t num_bytes = compare_row<Word>(masks, row, row_bytes, [&](const Vector<Word>& deviation) {
    if (masks.num_checked == 0) return;
    agree |= agree_bits<Word>(deviation) << filled;
    filled += kVectorBytes / sizeof(Word);
    if (filled == 64) flush();
  });
  if (filled > 0) flush();
  if (num_bytes == row_bytes) {
    __builtin_memcpy(dst, row, row_bytes);
    return row_bytes;
  }
  gather_free_bits(masks, row, writer);
  // The participation bits are read back from the stored row: make sure that they are in it.
  writer.finish();
  for_each_deviating(masks, dst, [&](std::uint64_t column) {
    const auto patch = load<Word>(masks.patch + column * sizeof(Word));
    const auto value = load<Word>(masks.value + column * sizeof(Word));
    const auto word = load<Word>(row + column * sizeof(Word));
    writer.put(extract_bits(static_cast<Word>(word ^ value), patch),
               static_cast<unsigned>(__builtin_popcountll(patch)));
    return true;
  });
  writer.finish();
  return num_bytes;
}

/// 64 bits of a stream from any bit on. 9 bytes must be readable.
inline std::uint64_t load_stream(const std::byte* stream, std::uint64_t bit_offset) {
  const std::byte* src = stream + bit_offset / 8;
  const unsigned shift = static_cast<unsigned>(bit_offset % 8);
  return load<std::uint64_t>(src) >> shift | static_cast<std::uint64_t>(src[8]) << 1 << (63 - shift);
}

template <class Word>
inline bool decode_row(const RowMasks masks, const std::byte* src, std::uint64_t num_bytes, std::byte* dst) {
  if (num_bytes < masks.minimum_row_bytes) return false;
  spread_free_bits(masks, src, dst);
  std::uint64_t patch_offset = masks.num_static_bits;
  return for_each_deviating(masks, src, [&](std::uint64_t column) {
    const auto patch = load<Word>(masks.patch + column * sizeof(Word));
    const auto num_bits = static_cast<unsigned>(__builtin_popcountll(patch));
    if (patch_offset + num_bits > 8 * num_bytes) return false;
    std::byte* word = dst + column * sizeof(Word);
    store(word, static_cast<Word>(load<Word>(word) ^ deposit_bits(load_stream(src, patch_offset), patch)));
    patch_offset += num_bits;
    return true;
  });
}

template <class Word>
std::uint64_t decode(const RowMasks& masks, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  for (std::uint64_t i = 0; i < num_rows; ++i, dst += masks.row_bytes) {
    if (rows[i].is_raw) {
      __builtin_memcpy(dst, rows[i].data, masks.row_bytes);
    } else if (!decode_row<Word>(masks, rows[i].data, rows[i].num_bytes, dst)) {
      return i;
    }
  }
  return num_rows;
}

template <class Word>
void count_deviations(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, const std::byte* value,
                      const std::byte* masks, std::uint32_t* counts) {
  constexpr unsigned kLanes = kVectorBytes / sizeof(Word);
  constexpr std::uint64_t kRowsPerSum = sizeof(Word) == 1 ? 255 : sizeof(Word) == 2 ? 65535 : ~std::uint32_t{0};
  for (std::uint64_t offset = 0; offset < row_bytes; offset += kVectorBytes) {
    const std::uint64_t width = row_bytes - offset < kVectorBytes ? row_bytes - offset : kVectorBytes;
    const auto load_part = [&](const std::byte* src) { return load_row<Word>(src, 0, width); };
    const Vector<Word> expected = load_part(value + offset);
    Vector<Word> mask[kNumCandidates];
    for (unsigned t = 0; t < kNumCandidates; ++t) mask[t] = load_part(masks + t * row_bytes + offset);
    for (std::uint64_t row = 0; row < num_rows;) {
      const std::uint64_t end = num_rows - row < kRowsPerSum ? num_rows : row + kRowsPerSum;
      Vector<Word> sum[kNumCandidates] = {};
      for (; row < end; ++row) {
        const Vector<Word> difference = load_part(rows + row * row_bytes + offset) ^ expected;
        for (unsigned t = 0; t < kNumCandidates; ++t) sum[t] -= (Vector<Word>)((difference & mask[t]) != 0);
      }
      for (unsigned t = 0; t < kNumCandidates; ++t) {
        const std::uint64_t column = (t * row_bytes + offset) / sizeof(Word);
        for (unsigned lane = 0; lane < kLanes && lane < width / sizeof(Word); ++lane) {
          counts[column + lane] += static_cast<std::uint32_t>(sum[t][lane]);
        }
      }
    }
  }
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word>, count_deviations<Word>, kWantsMoves};
