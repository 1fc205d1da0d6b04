// The loops of codec rans over rows: which stage follows which. Included once per instruction set, behind the stages
// (stages.inl, or what an instruction set has in their place), in the same namespace.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // does not see that scratch is written before it is read
#endif

/// What encoding keeps for each of a row's columns, on the stack; not set before it is written.
template <class Word, std::uint64_t kColumns>
struct EncodeScratch {
  alignas(64) std::uint8_t tables[kColumns + kPadding];
  alignas(64) std::uint8_t indices[kColumns + kPadding];
  std::uint16_t escapes[kColumns];
  std::byte levels[kColumns / 2 + 8];  ///< of segments of one column: half a byte each
  std::byte fields[kColumns * sizeof(Word) + 8];
};

/// The same of decoding, for each of the rows that are expanded together.
template <class Word, std::uint64_t kColumns>
struct DecodeScratch {
  alignas(64) std::uint8_t tables[StreamReader::kRowsTogether][kColumns + kPadding];
};

/// Most rows need little scratch, and what is large on the stack is probed page by page.
constexpr std::uint64_t kFewColumns = 4096;

/// Calls `body(scratch)` with scratch that is large enough for `num_columns`.
template <template <class, std::uint64_t> class Scratch, class Word, class Body>
inline auto with_scratch(std::uint64_t num_columns, const Body& body) {
  if (num_columns <= kFewColumns) {
    Scratch<Word, kFewColumns> scratch;
    return body(scratch);
  }
  Scratch<Word, kMaxRowBytes / sizeof(Word)> scratch;
  return body(scratch);
}

inline bool has_several_tables(const RowLayout& layout) {
  return layout.num_levels > 1 || layout.column_levels != nullptr;
}

/// Finds the columns' indices, the segments' levels, and the tables that columns are coded with. Returns the number of
/// escapes, or kCannot when the row has a word that the plan has no place for.
template <class Word, class RowScratch>
inline std::uint64_t prepare(const RowLayout& layout, const std::byte* row, RowScratch& scratch) {
  if (!take_indices<Word>(layout, row, scratch.indices)) return kCannot;
  if (layout.num_levels > 1) {
    FieldWriter writer{scratch.levels};
    for (std::uint64_t segment = 0; segment < layout.num_segments; ++segment) {
      const std::uint64_t first = segment * layout.segment_columns;
      const std::uint64_t left = layout.num_columns - first;
      const std::uint64_t count = left < layout.segment_columns ? left : layout.segment_columns;
      const unsigned level = cheapest_level(layout, scratch.indices, first, count);
      set_tables(layout, level, first, count, scratch.tables);
      writer.put(level, layout.level_bits);
    }
  } else if (has_several_tables(layout)) {
    set_tables(layout, 0, 0, layout.num_columns, scratch.tables);
  }
  return take_escapes<Word>(layout, row, has_several_tables(layout) ? scratch.tables : nullptr, scratch.indices,
                            scratch.escapes);
}

/// Encodes a row; `dst` is null where only its size is asked for. What would not be shorter than the row is stored raw.
template <class Word, bool kWrites, class RowScratch>
inline std::uint64_t encode_row(const RowLayout& layout, const std::byte* row, std::byte* dst, RowScratch& scratch) {
  const std::uint64_t num_escapes = prepare<Word>(layout, row, scratch);
  if (num_escapes > 0xFFFF) return layout.row_bytes;
  const std::uint64_t head_bytes = layout.minimum_row_bytes + num_escapes * layout.symbol_size;
  if (head_bytes >= layout.row_bytes) return layout.row_bytes;
  const std::uint8_t* const tables = has_several_tables(layout) ? scratch.tables : nullptr;
  pack_fields<Word>(layout, row, scratch.fields);
  std::uint32_t states[kStates];
  begin_states(layout, scratch.fields, states);
  const std::uint64_t most_bytes = layout.row_bytes - 1 - head_bytes;
  const std::uint64_t stream_bytes = encode_stream<kWrites>(layout, tables, scratch.indices, states,
                                                            kWrites ? dst + layout.row_bytes : nullptr, most_bytes);
  if (stream_bytes > most_bytes) return layout.row_bytes;
  if constexpr (kWrites) {
    __builtin_memcpy(dst, states, kStateBytes);
    if (layout.has_escapes) store(dst + kStateBytes, static_cast<std::uint16_t>(num_escapes));
    __builtin_memcpy(dst + layout.levels_at, scratch.levels, layout.fixed_at - layout.levels_at);
    __builtin_memcpy(dst + layout.fixed_at, scratch.fields, layout.stored_bytes);
    std::byte* const escapes = dst + layout.minimum_row_bytes;
    for (std::uint64_t i = 0; i < num_escapes; ++i)
      __builtin_memcpy(escapes + i * layout.symbol_size, scratch.escapes + i, layout.symbol_size);
    __builtin_memmove(dst + head_bytes, dst + layout.row_bytes - stream_bytes, stream_bytes);
  }
  return head_bytes + stream_bytes;
}

template <class Word>
void measure(const RowLayout& layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  with_scratch<EncodeScratch, Word>(layout.num_columns, [&](auto& scratch) {
    for (std::uint64_t i = 0; i < num_rows; ++i)
      sizes[i] =
          static_cast<std::uint32_t>(encode_row<Word, false>(layout, rows + i * layout.row_bytes, nullptr, scratch));
    return 0;
  });
}

template <class Word>
std::uint64_t encode(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  return with_scratch<EncodeScratch, Word>(layout.num_columns, [&](auto& scratch) -> std::uint64_t {
    const std::uint64_t size = encode_row<Word, true>(layout, row, dst, scratch);
    if (size == layout.row_bytes) __builtin_memcpy(dst, row, layout.row_bytes);
    return size;
  });
}

/// Reads the levels of a row's segments, and sets the tables of its columns. False when a level does not exist.
inline bool read_levels(const RowLayout& layout, const std::byte* levels, std::uint8_t* tables) {
  if (layout.num_levels <= 1) {
    set_tables(layout, 0, 0, layout.num_columns, tables);
    return true;
  }
  bool all_exist = true;
  take_fields(levels, layout.num_segments, layout.level_bits, [&](std::uint64_t segment, std::uint64_t level) {
    if (level >= layout.num_levels) {
      all_exist = false;
      return;
    }
    const std::uint64_t first = segment * layout.segment_columns;
    const std::uint64_t left = layout.num_columns - first;
    set_tables(layout, static_cast<unsigned>(level), first,
               left < layout.segment_columns ? left : layout.segment_columns, tables);
  });
  return all_exist;
}

/// The symbols that a row has escapes for, in order.
struct EscapedSymbols {
  const std::byte* next;
  std::uint64_t left;
};

/// Puts the symbols of escapes among `count` columns into the words at `dst`. False when there are too few.
template <class Word>
inline bool put_escapes(const RowLayout& layout, const std::uint8_t* indices, std::uint64_t count,
                        EscapedSymbols& escapes, std::byte* dst) {
  const auto symbol_place = static_cast<Word>(layout.shape.symbol_mask << layout.shape.symbol_at);
  const std::uint8_t* const end = indices + count;
  const auto next_from = [&](const std::uint8_t* from) {
    return static_cast<const std::uint8_t*>(
        __builtin_memchr(from, static_cast<int>(layout.escape_index), static_cast<std::size_t>(end - from)));
  };
  for (const std::uint8_t* found = next_from(indices); found != nullptr; found = next_from(found + 1)) {
    if (escapes.left == 0) return false;
    std::uint64_t symbol = load<std::uint8_t>(escapes.next);
    if (layout.symbol_size == 2) symbol |= std::uint64_t{load<std::uint8_t>(escapes.next + 1)} << 8;
    escapes.next += layout.symbol_size;
    --escapes.left;
    std::byte* const at = dst + static_cast<std::size_t>(found - indices) * sizeof(Word);
    store(at, static_cast<Word>((load<Word>(at) & ~symbol_place) | (symbol << layout.shape.symbol_at & symbol_place)));
  }
  return true;
}

/// A row that is being expanded.
struct OpenRow {
  StreamReader reader;
  EscapedSymbols escapes;
  const std::uint8_t* tables;  ///< of the columns; null where there is one
  const std::byte* fixed;      ///< the stored fixed fields
  std::byte* dst;
};

/// Requests what a block that comes later reads, and the lines that it writes: of several rows at once processors find
/// few by themselves (past the caches bf16 and f32 take a tenth less time so: Intel Xeon with AMX).
template <class Word>
inline void request_ahead_of(const RowLayout& layout, const std::byte* fixed, const std::byte* words) {
  constexpr std::uint64_t kAhead = 1024;
  constexpr std::uint64_t kLineBytes = 64;
  const std::uint64_t fixed_bytes = kBlockColumns / 8 * layout.shape.fixed_bits;
  for (std::uint64_t at = 0; at < fixed_bytes; at += kLineBytes) __builtin_prefetch(fixed + kAhead + at);
  for (std::uint64_t at = 0; at < kBlockColumns * sizeof(Word); at += kLineBytes)
    __builtin_prefetch(words + kAhead + at, 1);
}

/// Puts a block's words together, or fewer at the end of a row; their fixed fields begin at `fixed`. False when there
/// are too few escapes.
template <class Word>
inline bool put_block(const RowLayout& layout, OpenRow& row, std::uint64_t first, std::uint64_t count,
                      const std::byte* fixed, const std::uint8_t* indices) {
  std::byte* const words = row.dst + first * sizeof(Word);
  request_ahead_of<Word>(layout, fixed, words);
  put_words<Word>(layout, fixed, indices, count, words);
  return !layout.has_escapes || put_escapes<Word>(layout, indices, count, row.escapes, words);
}

/// Expands columns `first` to `end`, whose fixed fields begin at `fixed`.
template <class Word>
inline bool decode_columns(const RowLayout& layout, OpenRow& row, std::uint64_t first, std::uint64_t end,
                           const std::byte* fixed) {
  alignas(64) std::uint8_t indices[kBlockColumns];
  for (; first < end; first += kBlockColumns, fixed += kBlockColumns / 8 * layout.shape.fixed_bits) {
    const std::uint64_t count = end - first < kBlockColumns ? end - first : kBlockColumns;
    if (!row.reader.take(layout, row.tables, first, count, indices)) return false;
    if (!put_block<Word>(layout, row, first, count, fixed, indices)) return false;
  }
  return true;
}

/// Finds the parts of a row. False when they do not lie within it, or a level does not exist.
inline bool open_row(const RowLayout& layout, const StoredRow& row, std::uint8_t* tables, std::byte* dst,
                     OpenRow& opened) {
  if (row.num_bytes < layout.minimum_row_bytes) return false;
  const std::byte* const end = row.data + row.num_bytes;
  EscapedSymbols escapes{row.data + layout.minimum_row_bytes, 0};
  if (layout.has_escapes) escapes.left = load<std::uint16_t>(row.data + kStateBytes);
  const std::uint64_t escape_bytes = escapes.left * layout.symbol_size;
  if (escape_bytes > static_cast<std::uint64_t>(end - escapes.next)) return false;
  const bool has_tables = has_several_tables(layout);
  if (has_tables && !read_levels(layout, row.data + layout.levels_at, tables)) return false;
  opened = {StreamReader(row.data, escapes.next + escape_bytes, end), escapes, has_tables ? tables : nullptr,
            row.data + layout.fixed_at, dst};
  return true;
}

/// Expands the rest of a row, from column `first` on, a multiple of kBlockColumns.
template <class Word>
inline bool finish_row(const RowLayout& layout, OpenRow& row, std::uint64_t first) {
  const std::uint64_t head = layout.head_columns;
  const unsigned fixed_bits = layout.shape.fixed_bits;
  if (!decode_columns<Word>(layout, row, first, head, row.fixed + first * fixed_bits / 8)) return false;

  // The last fixed fields are what the states end with: the last columns are gone through twice.
  StreamReader ahead = row.reader;
  alignas(64) std::uint8_t indices[kBlockColumns];
  for (std::uint64_t at = head; at < layout.num_columns; at += kBlockColumns) {
    const std::uint64_t left = layout.num_columns - at;
    if (!ahead.take(layout, row.tables, at, left < kBlockColumns ? left : kBlockColumns, indices)) return false;
  }
  const std::uint64_t head_bytes = head * fixed_bits / 8;
  std::byte tail[kTailBytes];
  const std::uint64_t tail_bytes = layout.fixed_bytes == 0 ? 0 : layout.stored_bytes - head_bytes;
  __builtin_memcpy(tail, row.fixed + head_bytes, tail_bytes);
  if (!ahead.finish(tail + tail_bytes)) return false;
  return decode_columns<Word>(layout, row, head, layout.num_columns, tail);
}

/// Expands rows, block by block: each waits for its own states, and there is work to do meanwhile. False when one of
/// them is malformed.
template <class Word, unsigned kRows, class RowScratch>
inline bool decode_together(const RowLayout& layout, const StoredRow* rows, std::byte* dst, RowScratch& scratch) {
  OpenRow opened[kRows];
  for (unsigned i = 0; i < kRows; ++i) {
    if (!open_row(layout, rows[i], scratch.tables[i], dst + i * layout.row_bytes, opened[i])) return false;
  }
  std::uint64_t first = 0;
  if constexpr (kRows > 1) {
    using Reader = decltype(opened->reader);  // dependent: one that takes rows one by one has no take_blocks
    alignas(64) std::uint8_t indices[kRows][kBlockColumns];
    for (; first + kBlockColumns <= layout.head_columns; first += kBlockColumns) {
      if (!Reader::template take_blocks<kRows>(layout, first, opened, indices)) return false;
      const std::uint64_t fixed_at = first / 8 * layout.shape.fixed_bits;
      for (unsigned i = 0; i < kRows; ++i) {
        if (!put_block<Word>(layout, opened[i], first, kBlockColumns, opened[i].fixed + fixed_at, indices[i]))
          return false;
      }
    }
  }
  for (OpenRow& row : opened) {
    if (!finish_row<Word>(layout, row, first)) return false;
  }
  return true;
}

/// Expands as many rows together as there are, but at most kRows; where one is malformed, fewer, to tell which.
/// Returns how many: none where the first is malformed.
template <class Word, unsigned kRows, class RowScratch>
inline std::uint64_t decode_some(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst,
                                 RowScratch& scratch) {
  if (kRows <= num_rows && decode_together<Word, kRows>(layout, rows, dst, scratch)) return kRows;
  if constexpr (kRows > 1) return decode_some<Word, kRows / 2>(layout, rows, num_rows, dst, scratch);
  return 0;
}

template <class Word>
std::uint64_t decode(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  return with_scratch<DecodeScratch, Word>(layout.num_columns, [&](auto& scratch) -> std::uint64_t {
    std::uint64_t num_expanded = 0;
    while (num_expanded < num_rows) {
      const StoredRow* const next = rows + num_expanded;
      std::byte* const out = dst + num_expanded * layout.row_bytes;
      if (next->is_raw) {
        __builtin_memcpy(out, next->data, layout.row_bytes);
        ++num_expanded;
        continue;
      }
      std::uint64_t num_encoded = 1;
      while (num_encoded < StreamReader::kRowsTogether && num_expanded + num_encoded < num_rows &&
             !next[num_encoded].is_raw)
        ++num_encoded;
      const std::uint64_t count =
          decode_some<Word, StreamReader::kRowsTogether>(layout, next, num_encoded, out, scratch);
      if (count == 0) break;
      num_expanded += count;
    }
    return num_expanded;
  });
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word>};
