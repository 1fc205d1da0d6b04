// The loops of codec escape over rows: which stage follows which. Included once per instruction set, behind the stages
// (stages.inl, or what an instruction set has in their place), in the same namespace. An instruction set also orders
// stores that passed the caches, if it has them (finish_stores), ends a row (put_row, which is false if it finds
// another number of escapes in the first tier than begin_first_tier did), and may decode rows in groups of its own
// (kDecodesGroups, decode_group).
//
// Symbols are worked on in scratch memory, a plane of them at a time: a row's symbols stay in the first-level cache
// between two stages, and each stage is a loop without branches that data decides.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // does not see that scratch is written before it is read
#endif

/// Planes of a row of up to kColumns columns, on the stack; not set before they are written.
template <class Symbol, std::uint64_t kColumns>
struct Scratch {
  alignas(64) Symbol symbols[kMaxTiers + 1][kColumns + kPadding];
  std::uint64_t escapes[kMaxTiers][kColumns / 64 + 1];  ///< bit i % 64 of word i / 64: code i is the escape
};

/// Most rows need little scratch, and what is large on the stack is probed page by page.
constexpr std::uint64_t kFewColumns = 4096;

/// Calls `body(scratch)` with scratch that is large enough for `num_columns`.
template <class Word, class Body>
inline auto with_scratch(std::uint64_t num_columns, const Body& body) {
  using Symbol = SymbolOf<Word>;
  if (num_columns <= kFewColumns) {
    Scratch<Symbol, kFewColumns> scratch;
    return body(scratch);
  }
  Scratch<Symbol, kMaxRowBytes / sizeof(Word)> scratch;
  return body(scratch);
}

/// Bytes that the escapes take behind a row's counts, from how many symbols come to each tier but the first, and to
/// none.
inline std::uint64_t escape_bytes(const RowLayout& layout, const std::uint64_t* num_beyond, std::uint64_t symbol_size) {
  std::uint64_t num_bytes = num_beyond[layout.num_tiers - 1] * symbol_size;
  for (unsigned i = 1; i < layout.num_tiers; ++i) num_bytes += (num_beyond[i - 1] * layout.tier_bits[i] + 7) / 8;
  return num_bytes;
}

/// What a row is shifted by, and the bytes of its escapes then.
struct Shifted {
  std::uint64_t shift;
  std::uint64_t escape_bytes;
};

/// Chooses the row's shift: the one that brings the mean of its symbols to the commonest symbol of the tables, or one
/// beside it, whichever stores the fewest bytes. Symbols far from the mean do not count in it.
template <class Symbol>
inline Shifted choose_shift(const RowLayout& layout, const Symbol* symbols) {
  const auto priced = [&](std::uint64_t shift) {
    std::uint64_t num_beyond[kMaxTiers] = {};
    count_beyond(layout, symbols, shift & layout.shape.symbol_mask, num_beyond);
    return Shifted{shift & layout.shape.symbol_mask, escape_bytes(layout, num_beyond, sizeof(Symbol))};
  };
  if (!layout.row_shifts) return priced(0);
  const std::uint64_t middle = mean_near(layout, symbols, mean_near(layout, symbols, 0, layout.shape.symbol_mask), 8);
  const std::uint64_t wanted = middle - layout.symbol_of_code[0][1];
  Shifted best = priced(wanted);
  for (const std::uint64_t shift : {wanted - 1, wanted + 1}) {
    const Shifted other = priced(shift);
    if (other.escape_bytes < best.escape_bytes) best = other;
  }
  return best;
}

template <class Word>
void measure(const RowLayout& layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  with_scratch<Word>(layout.num_columns, [&](auto& scratch) {
    for (std::uint64_t i = 0; i < num_rows; ++i) {
      std::uint64_t size = layout.row_bytes;
      if (split_symbols<Word>(layout, rows + i * layout.row_bytes, scratch.symbols[0])) {
        if (layout.column_shifts != nullptr) subtract_columns(layout, scratch.symbols[0]);
        const Shifted shifted = choose_shift(layout, scratch.symbols[0]);
        size = layout.minimum_row_bytes + shifted.escape_bytes;
      }
      sizes[i] = static_cast<std::uint32_t>(size < layout.row_bytes ? size : layout.row_bytes);
    }
    return 0;
  });
}

template <class Word>
std::uint64_t encode(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  using Symbol = SymbolOf<Word>;
  return with_scratch<Word>(layout.num_columns, [&](auto& scratch) -> std::uint64_t {
    Symbol* symbols = scratch.symbols[0];
    const auto store_raw = [&] {
      __builtin_memcpy(dst, row, layout.row_bytes);
      return layout.row_bytes;
    };
    if (!split_row<Word>(layout, row, symbols, dst)) return store_raw();
    if (layout.column_shifts != nullptr) subtract_columns(layout, symbols);
    std::uint64_t shift = 0;
    if (layout.row_shifts) {
      shift = choose_shift(layout, symbols).shift;
      if (shift != 0) subtract_shift(layout, symbols, shift);
    }
    // How large the row becomes shows as it is written: what would not be shorter than the row is stored raw.
    std::byte* const end = dst + layout.row_bytes;
    std::uint64_t count =
        encode_tier(layout, 0, symbols, layout.num_columns, dst + layout.fixed_bytes, scratch.symbols[1]);
    std::byte* out = dst + layout.minimum_row_bytes;
    std::uint64_t counts = 0;
    for (unsigned i = 1; i < layout.num_tiers; ++i) {
      counts |= count << ((i - 1) * layout.count_bits);
      const std::uint64_t plane_bytes = (count * layout.tier_bits[i] + 7) / 8;
      if (plane_bytes >= static_cast<std::uint64_t>(end - out)) return store_raw();
      count = encode_tier(layout, i, scratch.symbols[i], count, out, scratch.symbols[i + 1]);
      out += plane_bytes;
    }
    if (layout.row_shifts) store(dst + layout.counts_at - sizeof(Symbol), static_cast<Symbol>(shift));
    __builtin_memcpy(dst + layout.counts_at, &counts, layout.minimum_row_bytes - layout.counts_at);
    if (count * sizeof(Symbol) >= static_cast<std::uint64_t>(end - out)) return store_raw();
    __builtin_memcpy(out, scratch.symbols[layout.num_tiers], count * sizeof(Symbol));
    return static_cast<std::uint64_t>(out - dst) + count * sizeof(Symbol);
  });
}

/// Symbols that are written out, where they can be read: bytes where they are, others, which may lie at any address, in
/// memory of their own.
inline const std::uint8_t* written_out(const std::byte* src, std::uint64_t, std::uint8_t*) {
  return reinterpret_cast<const std::uint8_t*>(src);
}
inline const std::uint16_t* written_out(const std::byte* src, std::uint64_t count, std::uint16_t* dst) {
  __builtin_memcpy(dst, src, count * sizeof(*dst));
  return dst;
}

template <class Word, bool kPastCaches, class RowScratch>
inline bool decode_row(const RowLayout& layout, const StoredRow& row, std::byte* dst, RowScratch& scratch) {
  using Symbol = SymbolOf<Word>;
  RowParts parts;
  if (!find_parts<Symbol>(layout, AnyTiers{layout}, row.data, row.num_bytes, parts)) return false;
  const std::uint64_t num_first =
      begin_first_tier(layout, parts, row.data + layout.fixed_bytes, scratch.symbols[0], scratch.escapes[0]);
  std::uint64_t num_escapes = num_first;
  for (unsigned i = 1; i < layout.num_tiers; ++i) {
    if (num_escapes != parts.num_codes[i]) return false;
    num_escapes = decode_tier(layout, i, parts.codes[i], num_escapes, scratch.symbols[i], scratch.escapes[i]);
  }
  if (num_escapes * sizeof(Symbol) > parts.symbol_bytes) return false;
  const Symbol* next = written_out(parts.symbols, num_escapes, scratch.symbols[layout.num_tiers]);
  for (unsigned i = layout.num_tiers; i-- > 1;) {
    fill_escapes(scratch.escapes[i], parts.num_codes[i], next, scratch.symbols[i]);
    next = scratch.symbols[i];
  }
  return put_row<Word, kPastCaches>(layout, row, static_cast<Symbol>(parts.shift), scratch.symbols[0],
                                    scratch.escapes[0], num_first, next, dst);
}

/// Decodes encoded rows one after the other, up to the first one that is raw or malformed. Returns how many these are.
template <class Word, bool kPastCaches>
__attribute__((noinline)) std::uint64_t decode_in_turn(const RowLayout& layout, const StoredRow* rows,
                                                       std::uint64_t num_rows, std::byte* dst) {
  return with_scratch<Word>(layout.num_columns, [&](auto& scratch) -> std::uint64_t {
    for (std::uint64_t i = 0; i < num_rows; ++i, dst += layout.row_bytes) {
      if (kPastCaches && num_rows > RowCodec::kGatheredRows) request_ahead_of(rows[i].data, rows[i].num_bytes);
      if (rows[i].is_raw || !decode_row<Word, kPastCaches>(layout, rows[i], dst, scratch)) return i;
    }
    return num_rows;
  });
}

/// The same, where an instruction set has a way of its own.
template <class Word, bool kPastCaches>
// NOLINTNEXTLINE(readability-redundant-declaration): portable code has no other
std::uint64_t decode_group(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst);

template <class Word, bool kPastCaches>
std::uint64_t decode(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  std::uint64_t i = 0;
  while (i < num_rows) {
    std::byte* const out = dst + i * layout.row_bytes;
    std::uint64_t num_done = 0;
    if (rows[i].is_raw) {
      __builtin_memcpy(out, rows[i].data, layout.row_bytes);
      num_done = 1;
    } else if constexpr (kDecodesGroups<Word>) {
      num_done = decode_group<Word, kPastCaches>(layout, rows + i, num_rows - i, out);
    } else {
      num_done = decode_in_turn<Word, kPastCaches>(layout, rows + i, num_rows - i, out);
    }
    if (num_done == 0) break;
    i += num_done;
  }
  if constexpr (kPastCaches) finish_stores();
  return i;
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word, false>, decode<Word, true>};
