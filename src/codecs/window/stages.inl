// The stages of codec window in plain C++, for any instruction set and any size of words: rows are worked on in chunks
// of kChunkWords words. Included inside a namespace, behind layout.inl; `pack_fields` and `unpack_fields` are declared
// here and come from another file (fields_portable.inl, fields_bmi2.inl). The loops over a chunk are without branches
// that data decides: compilers turn them into vectors.

/// The bases of the words from `first` on, which begins a chunk.
template <class Word>
inline const std::byte* bases_from(const RowLayout& layout, std::uint64_t first) {
  return layout.has_column_bases ? layout.bases + first * sizeof(Word) : layout.bases;
}

/// Words of up to a chunk, and what of them does not fit into fields.
template <class Word>
struct Chunk {
  alignas(64) Word placed[kChunkWords];  ///< fields
  Word exceptions[kChunkWords];          ///< in order
};

/// Puts the fields of `count` placed fields at `dst`. 8 bytes behind them must be writable.
template <class Word>
void pack_fields(const RowLayout& layout, const Word* placed, std::uint64_t count, std::byte* dst);
/// The inverse. 8 bytes behind the fields must be readable.
template <class Word>
void unpack_fields(const RowLayout& layout, const std::byte* src, std::uint64_t count, Word* placed);

/// `sign_place` is the lowest bit of a placed value. All shifts are by constants, of which compilers make vectors of
/// words however narrow these are.
template <class Word, bool kIsSigned>
inline Word placed_value(Word word, Word sign_place) {
  if constexpr (!kIsSigned) return word;
  const auto is_negative = static_cast<Word>(word >> (8 * sizeof(Word) - 1));
  const auto all_if_negative = static_cast<Word>(Word{0} - is_negative);
  return static_cast<Word>(static_cast<Word>(word << 1) | (all_if_negative & sign_place));
}

/// Calls `body(count)` with the number of words in a chunk that `left` words begin with: a constant where it is full.
template <class Body>
inline __attribute__((always_inline)) void with_count(std::uint64_t left, const Body& body) {
  left >= kChunkWords ? body(kChunkWords) : body(left);
}

/// Calls take(i, placed offset, whether it is an exception) for each of `count` words.
template <class Word, bool kIsSigned, class Take>
inline __attribute__((always_inline)) void offsets_of(const RowLayout& layout, const std::byte* words,
                                                      const std::byte* bases, std::uint64_t count, const Take& take) {
  const auto sign_place = static_cast<Word>(layout.dropped + 1);
  const auto dropped = static_cast<Word>(layout.dropped);
  const auto marker = static_cast<Word>(layout.marker);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Word word = load<Word>(words + i * sizeof(Word));
    const Word value = placed_value<Word, kIsSigned>(word, sign_place);
    const auto offset = static_cast<Word>(value - load<Word>(bases + i * sizeof(Word)));
    take(i, offset, offset >= marker || (word & dropped) != 0);
  }
}

template <class Word, bool kIsSigned>
inline std::uint64_t count_exceptions(const RowLayout& layout, const std::byte* row) {
  std::uint64_t num_exceptions = 0;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kChunkWords) {
    Word num_here = 0;
    with_count(layout.num_columns - first, [&](std::uint64_t count) {
      offsets_of<Word, kIsSigned>(
          layout, row + first * sizeof(Word), bases_from<Word>(layout, first), count,
          [&](std::uint64_t, Word, bool is_exception) { num_here = static_cast<Word>(num_here + is_exception); });
    });
    num_exceptions += num_here;
  }
  return num_exceptions;
}

/// Calls body(i) for each i below kChunkWords, in order, whose flag is 1.
template <class Body>
inline void for_each_flag(const std::uint8_t* flags, const Body& body) {
  for (unsigned first = 0; first < kChunkWords; first += 8) {
    std::uint64_t left;
    __builtin_memcpy(&left, flags + first, 8);
    for (; left != 0; left &= left - 1) body(first + static_cast<unsigned>(__builtin_ctzll(left)) / 8);
  }
}

/// Takes the fields of up to a chunk of words. Returns how many are exceptions.
template <class Word, bool kIsSigned>
inline std::uint64_t split_chunk(const RowLayout& layout, const std::byte* words, const std::byte* bases,
                                 std::uint64_t left, Chunk<Word>& chunk) {
  const auto marker = static_cast<Word>(layout.marker);
  std::uint8_t is_exception[kChunkWords];
  if (left < kChunkWords) __builtin_memset(is_exception, 0, sizeof(is_exception));
  with_count(left, [&](std::uint64_t count) {
    offsets_of<Word, kIsSigned>(layout, words, bases, count, [&](std::uint64_t i, Word offset, bool is) {
      chunk.placed[i] = is ? marker : offset;
      is_exception[i] = is;
    });
  });
  Word* next = chunk.exceptions;
  for_each_flag(is_exception, [&](std::uint64_t i) { *next++ = load<Word>(words + i * sizeof(Word)); });
  return static_cast<std::uint64_t>(next - chunk.exceptions);
}

/// As RowCodec::encode.
template <class Word, bool kIsSigned>
inline std::uint64_t encode_row(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  Chunk<Word> chunk;
  std::uint64_t num_exceptions = 0;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kChunkWords) {
    const std::uint64_t left = layout.num_columns - first;
    const std::uint64_t num_here =
        split_chunk<Word, kIsSigned>(layout, row + first * sizeof(Word), bases_from<Word>(layout, first), left, chunk);
    if (num_here > 0) {
      if (stored_bytes<Word>(layout, num_exceptions + num_here) == layout.row_bytes) {
        __builtin_memcpy(dst, row, layout.row_bytes);
        return layout.row_bytes;
      }
      __builtin_memcpy(dst + layout.plane_bytes + num_exceptions * sizeof(Word), chunk.exceptions,
                       num_here * sizeof(Word));
      num_exceptions += num_here;
    }
    std::byte* plane = dst + first / 8 * layout.field_bits;
    if (left >= 2 * kChunkWords) {
      pack_fields(layout, chunk.placed, kChunkWords, plane);
    } else {
      // What is written behind these fields must not reach the exceptions.
      const std::uint64_t count = left < kChunkWords ? left : kChunkWords;
      std::byte fields[kChunkWords * sizeof(Word) + 8];
      pack_fields(layout, chunk.placed, count, fields);
      __builtin_memcpy(plane, fields, (count * layout.field_bits + 7) / 8);
    }
  }
  return layout.plane_bytes + num_exceptions * sizeof(Word);
}

/// Turns placed fields into the words of a chunk, and tells which are the marker.
template <class Word, bool kIsSigned>
inline void join_chunk(const RowLayout& layout, const Word* placed, const std::byte* bases, std::byte* words,
                       std::uint8_t* is_marker) {
  const auto sign_place = static_cast<Word>(layout.dropped + 1);
  const auto sign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
  const auto magnitude = static_cast<Word>(~layout.dropped);
  const auto marker = static_cast<Word>(layout.marker);
  for (std::uint64_t i = 0; i < kChunkWords; ++i) {
    const auto value = static_cast<Word>(placed[i] + load<Word>(bases + i * sizeof(Word)));
    if constexpr (kIsSigned) {
      const auto half = static_cast<Word>(value >> 1);
      store(words + i * sizeof(Word),
            static_cast<Word>((half & magnitude) | ((value & sign_place) != 0 ? sign : Word{0})));
    } else {
      store(words + i * sizeof(Word), value);
    }
    is_marker[i] = placed[i] == marker;
  }
}

/// As RowCodec::decode for one row, which has `num_exception_bytes` behind its fields.
template <class Word, bool kIsSigned>
inline bool join_chunks(const RowLayout& layout, const std::byte* src, std::uint64_t num_exception_bytes,
                        std::byte* dst) {
  const std::byte* const exceptions = src + layout.plane_bytes;
  std::uint64_t taken = 0;
  // Fields are unpacked a chunk ahead: they are stored in other sizes than they are loaded in, which takes time.
  Word placed[2][kChunkWords];
  const auto unpack = [&](std::uint64_t first) {
    const std::uint64_t left = layout.num_columns - first;
    Word* dst_fields = placed[first / kChunkWords % 2];
    if (left < kChunkWords) __builtin_memset(dst_fields, 0, sizeof(placed[0]));  // none of these is the marker
    with_count(left,
               [&](std::uint64_t n) { unpack_fields(layout, src + first / 8 * layout.field_bits, n, dst_fields); });
  };
  unpack(0);
  for (std::uint64_t first = 0; first < layout.num_columns; first += kChunkWords) {
    const std::uint64_t left = layout.num_columns - first;
    if (left > kChunkWords) unpack(first + kChunkWords);
    // A whole chunk is put together where it belongs.
    std::byte part[kChunkWords * sizeof(Word)];
    std::byte* words = left < kChunkWords ? part : dst + first * sizeof(Word);
    std::uint8_t is_marker[kChunkWords];
    join_chunk<Word, kIsSigned>(layout, placed[first / kChunkWords % 2], bases_from<Word>(layout, first), words,
                                is_marker);
    for_each_flag(is_marker, [&](std::uint64_t i) {
      // Exceptions that are not there, of a malformed row, are read from where it ends.
      const std::uint64_t from = taken < num_exception_bytes ? taken : num_exception_bytes;
      store(words + i * sizeof(Word), load<Word>(exceptions + from));
      taken += sizeof(Word);
    });
    if (left < kChunkWords) __builtin_memcpy(dst + first * sizeof(Word), part, left * sizeof(Word));
  }
  return taken <= num_exception_bytes;
}
