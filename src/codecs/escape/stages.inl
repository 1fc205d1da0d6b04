// The stages of codec escape in plain C++, for any instruction set and any size of words. Included inside a namespace,
// behind fields/writer.inl; `pack_fields` and `join_fields` are declared here and come from another file (fields.inl,
// or what an instruction set has in its place). "Symbols" are always those of one row, or of the escapes of one row, in
// order.

template <class Word>
struct SymbolOfWord {
  typedef std::uint8_t Type;
};
template <>
struct SymbolOfWord<std::uint64_t> {
  typedef std::uint16_t Type;
};
template <class Word>
using SymbolOf = typename SymbolOfWord<Word>::Type;

template <class Word>
void pack_fields(const RowLayout& layout, const std::byte* row, std::byte* dst);
template <class Word>
void join_fields(const RowLayout& layout, const std::byte* fixed, const SymbolOf<Word>* symbols, std::byte* dst);

/// Takes each word's symbol. False when a word has a bit set that must be zero.
template <class Word>
inline bool split_symbols(const RowLayout& layout, const std::byte* row, SymbolOf<Word>* symbols) {
  const WordShape shape = layout.shape;
  const std::uint64_t num_columns = layout.num_columns;
  Word all = 0;
  for (std::uint64_t i = 0; i < num_columns; ++i) {
    const Word word = load<Word>(row + i * sizeof(Word));
    all = static_cast<Word>(all | word);
    symbols[i] = static_cast<SymbolOf<Word>>(symbol_of(shape, word));
  }
  return (all & shape.forbidden) == 0;
}

/// Takes each word's symbol, and puts the fixed fields at `dst`. False as `split_symbols`.
template <class Word>
inline bool split_row(const RowLayout& layout, const std::byte* row, SymbolOf<Word>* symbols, std::byte* dst) {
  if (!split_symbols<Word>(layout, row, symbols)) return false;
  pack_fields<Word>(layout, row, dst);
  return true;
}

template <class Symbol>
inline void subtract_columns(const RowLayout& layout, Symbol* symbols) {
  const auto mask = static_cast<Symbol>(layout.shape.symbol_mask);
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) {
    const Symbol shift = load<Symbol>(layout.column_shifts + i * sizeof(Symbol));
    symbols[i] = static_cast<Symbol>((symbols[i] - shift) & mask);
  }
}

template <class Symbol>
inline void subtract_shift(const RowLayout& layout, Symbol* symbols, std::uint64_t shift) {
  const auto mask = static_cast<Symbol>(layout.shape.symbol_mask);
  const auto by = static_cast<Symbol>(shift);
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) symbols[i] = static_cast<Symbol>((symbols[i] - by) & mask);
}

/// The rounded mean of the symbols that differ from `center` by at most `reach`, or `center` when there are none.
template <class Symbol>
inline std::uint64_t mean_near(const RowLayout& layout, const Symbol* symbols, std::uint64_t center,
                               std::uint64_t reach) {
  std::uint32_t sum = 0;
  std::uint32_t count = 0;
  const auto from = static_cast<std::int32_t>(center) - static_cast<std::int32_t>(reach);
  const auto to = static_cast<std::int32_t>(center + reach);
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) {
    const std::int32_t symbol = symbols[i];
    const auto near = static_cast<std::uint32_t>(symbol >= from && symbol <= to);
    sum += near * static_cast<std::uint32_t>(symbol);
    count += near;
  }
  return count == 0 ? center : (sum + count / 2) / count;
}

/// Counts how many symbols, less `shift`, the first i + 1 tiers lack, for each tier i.
template <class Symbol>
inline void count_beyond(const RowLayout& layout, const Symbol* symbols, std::uint64_t shift,
                         std::uint64_t* num_beyond) {
  const auto mask = static_cast<Symbol>(layout.shape.symbol_mask);
  const auto by = static_cast<Symbol>(shift);
  std::uint64_t counters = 0;
  for (std::uint64_t i = 0; i < layout.num_columns; ++i)
    counters += layout.beyond_of_symbol[static_cast<Symbol>((symbols[i] - by) & mask)];
  for (unsigned i = 0; i < kMaxTiers; ++i) num_beyond[i] = counters >> (i * kCounterBits) & low_mask(kCounterBits);
}

/// Codes of a tier that lie in blocks, of so many that it has: the others follow each other.
inline std::uint64_t num_blocked(unsigned tier, std::uint64_t count) {
  return tier == 0 ? count / kBlockCodes * kBlockCodes : 0;
}

/// Codes `count` symbols in tier `tier`, and moves those that it lacks to `beyond`. Returns how many these are.
/// 8 bytes behind the codes must be writable.
template <class Symbol>
inline std::uint64_t encode_tier(const RowLayout& layout, unsigned tier, const Symbol* symbols, std::uint64_t count,
                                 std::byte* codes, Symbol* beyond) {
  const std::uint8_t* code_of = layout.code_of_symbol[tier];
  const unsigned width = layout.tier_bits[tier];
  std::uint64_t num_beyond = 0;
  const auto take = [&](std::uint64_t i) -> std::uint64_t {
    const std::uint64_t code = code_of[symbols[i]];
    beyond[num_beyond] = symbols[i];
    num_beyond += code == 0;
    return code;
  };
  std::uint64_t first = 0;
  for (; first < num_blocked(tier, count); first += kBlockCodes, codes += 8 * width) {
    __builtin_memset(codes, 0, 8 * width);
    for (unsigned part = 0; part < kBlockCodes / 8; ++part) {
      std::uint64_t bytes = 0;
      for (unsigned i = 0; i < 8; ++i) bytes |= take(first + 8 * part + i) << (8 * i);
      put_block_codes(codes, part, width, bytes);
    }
  }
  FieldWriter writer{codes};
  for (; first < count; ++first) writer.put(take(first), width);
  return num_beyond;
}

/// A number that is known to the compiler.
template <unsigned kValue>
struct Constant {
  static constexpr unsigned value = kValue;
};

/// Symbols of codes, for 16 codes at a time: each symbol but the escape's is chosen by a comparison. What processors
/// have no instruction for is not asked of them.
template <class Symbol, unsigned kWidth>
struct SymbolTable {
  typedef std::uint8_t Codes __attribute__((vector_size(16)));

  explicit SymbolTable(const std::uint16_t* symbol_of_code) {
    for (unsigned code = 0; code < 1U << kWidth; ++code) {
      for (unsigned i = 0; i < 16; ++i) {
        codes[code][i] = static_cast<std::uint8_t>(code);
        symbols[code][i] = static_cast<std::uint8_t>(symbol_of_code[code]);
      }
    }
  }

  void look_up(std::uint64_t first, std::uint64_t second, std::uint8_t* dst) const {
    const std::uint64_t both[2] = {first, second};
    Codes from;
    __builtin_memcpy(&from, both, sizeof(from));
    Codes found = {};
    for (unsigned code = 1; code < 1U << kWidth; ++code)
      found |= reinterpret_cast<Codes>(from == codes[code]) & symbols[code];
    __builtin_memcpy(dst, &found, sizeof(found));
  }

  Codes codes[1U << kWidth];
  Codes symbols[1U << kWidth];
};

/// Wider symbols are looked up one by one.
template <unsigned kWidth>
struct SymbolTable<std::uint16_t, kWidth> {
  explicit SymbolTable(const std::uint16_t* symbol_of_code) {
    __builtin_memcpy(symbols, symbol_of_code, sizeof(symbols));
  }

  void look_up(std::uint64_t first, std::uint64_t second, std::uint16_t* dst) const {
    for (unsigned i = 0; i < 8; ++i) dst[i] = symbols[first >> (8 * i) & 0xFF];
    for (unsigned i = 0; i < 8; ++i) dst[8 + i] = symbols[second >> (8 * i) & 0xFF];
  }

  std::uint16_t symbols[1U << kWidth];
};

/// `decode_tier` for codes of kWidth bits, in blocks as far as there are whole ones or all one after the other.
template <class Symbol, unsigned kWidth, bool kInBlocks>
inline std::uint64_t decode_tier_of(const std::uint16_t* symbol_of_code, const std::byte* codes, std::uint64_t count,
                                    Symbol* symbols, std::uint64_t* escapes) {
  const SymbolTable<Symbol, kWidth> table(symbol_of_code);
  const auto eight_codes = [&](unsigned part) {
    if constexpr (kInBlocks) return block_codes(codes, part, kWidth);
    return codes_in_turn(load<std::uint64_t>(codes + part * kWidth), kWidth);
  };
  std::uint64_t num_escapes = 0;
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, codes += 8 * kWidth) {
    std::uint64_t found = 0;
    for (unsigned part = 0; part < kBlockCodes / 8; part += 2) {
      const std::uint64_t low = eight_codes(part);
      const std::uint64_t high = eight_codes(part + 1);
      found |= std::uint64_t{escapes_of(low) | escapes_of(high) << 8} << (8 * part);
      table.look_up(low, high, symbols + first + 8 * part);
    }
    *escapes++ = found;
    num_escapes += static_cast<unsigned>(__builtin_popcountll(found));
  }
  if (first < count) *escapes = 0;
  for (unsigned bit = 0; first < count; ++first, bit += kWidth) {
    const std::uint64_t code = load<std::uint16_t>(codes + bit / 8) >> (bit % 8) & low_mask(kWidth);
    symbols[first] = static_cast<Symbol>(symbol_of_code[code]);
    *escapes |= std::uint64_t{code == 0} << (first % kBlockCodes);
    num_escapes += code == 0;
  }
  return num_escapes;
}

/// Looks up `count` codes of tier `tier`: sets each symbol (0 for an escape) and the bits of `escapes`. Returns the
/// number of escapes.
template <class Symbol>
inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* codes, std::uint64_t count,
                                 Symbol* symbols, std::uint64_t* escapes) {
  const auto decode_with_width = [&](auto width) {
    const std::uint16_t* const symbol_of_code = layout.symbol_of_code[tier];
    return tier == 0 ? decode_tier_of<Symbol, width.value, true>(symbol_of_code, codes, count, symbols, escapes)
                     : decode_tier_of<Symbol, width.value, false>(symbol_of_code, codes, count, symbols, escapes);
  };
  switch (layout.tier_bits[tier]) {
    case 1:
      return decode_with_width(Constant<1>());
    case 2:
      return decode_with_width(Constant<2>());
    case 3:
      return decode_with_width(Constant<3>());
    default:
      return decode_with_width(Constant<4>());
  }
}

/// Puts the symbols of the next tier to the places of the escapes among `count` symbols.
template <class Symbol>
inline void fill_escapes(const std::uint64_t* escapes, std::uint64_t count, const Symbol* next, Symbol* symbols) {
  for (std::uint64_t first = 0; first < count; first += 64) {
    for (std::uint64_t left = *escapes++; left != 0; left &= left - 1)
      symbols[first + static_cast<unsigned>(__builtin_ctzll(left))] = *next++;
  }
}

/// Adds the shifts to all symbols, modulo 2^symbol_bits.
template <class Symbol>
inline void add_shifts(const RowLayout& layout, Symbol shift, Symbol* symbols) {
  const auto mask = static_cast<Symbol>(layout.shape.symbol_mask);
  if (layout.column_shifts != nullptr) {
    for (std::uint64_t i = 0; i < layout.num_columns; ++i)
      symbols[i] = static_cast<Symbol>(symbols[i] + load<Symbol>(layout.column_shifts + i * sizeof(Symbol)));
  }
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) symbols[i] = static_cast<Symbol>((symbols[i] + shift) & mask);
}

/// Where the parts of an encoded row are that come behind its first tier's codes.
struct RowParts {
  std::uint64_t shift = 0;
  std::uint64_t num_codes[kMaxTiers + 1] = {};  ///< of each tier
  const std::byte* codes[kMaxTiers] = {};       ///< of each tier but the first
  const std::byte* symbols = nullptr;           ///< that are written out
  std::uint64_t symbol_bytes = 0;               ///< as many as there is room for
};

/// The tiers of a layout.
struct AnyTiers {
  const RowLayout& layout;

  [[nodiscard]] unsigned count() const { return layout.num_tiers; }
  [[nodiscard]] unsigned bits(unsigned tier) const { return layout.tier_bits[tier]; }
};

/// False if they do not lie within the row. That there are so many escapes as the row says is to be seen when they are
/// found.
template <class Symbol, class Tiers>
inline __attribute__((always_inline)) bool find_parts(const RowLayout& layout, const Tiers& tiers, const std::byte* row,
                                                      std::uint64_t num_bytes, RowParts& parts) {
  if (num_bytes < layout.minimum_row_bytes) return false;
  // Where there are fewer than eight bytes of them the others are not looked at.
  std::uint64_t counts = load<std::uint64_t>(row + layout.counts_at);
  parts.shift = layout.row_shifts ? load<Symbol>(row + layout.counts_at - sizeof(Symbol)) : 0;
  parts.num_codes[0] = layout.num_columns;
  const std::byte* at = row + layout.minimum_row_bytes;
  std::uint64_t left = num_bytes - layout.minimum_row_bytes;
  for (unsigned i = 1; i < tiers.count(); ++i, counts >>= layout.count_bits) {
    const std::uint64_t count = counts & low_mask(layout.count_bits);
    const std::uint64_t plane_bytes = (count * tiers.bits(i) + 7) / 8;
    if (count > parts.num_codes[i - 1] || plane_bytes > left) return false;
    parts.num_codes[i] = count;
    parts.codes[i] = at;
    at += plane_bytes;
    left -= plane_bytes;
  }
  parts.symbols = at;
  parts.symbol_bytes = left;
  return true;
}

/// The first tier of a row, up to the number of its escapes: the later tiers are decoded then, and
/// `end_first_tier` is called with their symbols. What it leaves in `symbols` and `escapes` is for that.
template <class Symbol>
inline std::uint64_t begin_first_tier(const RowLayout& layout, const RowParts&, const std::byte* codes, Symbol* symbols,
                                      std::uint64_t* escapes) {
  return decode_tier(layout, 0, codes, layout.num_columns, symbols, escapes);
}

/// Puts the row together: fills the first tier's escapes from `next`, adds the shifts, and joins symbols and the fixed
/// fields, which the stored row begins with.
template <class Word>
inline void end_first_tier(const RowLayout& layout, const std::byte* fixed, SymbolOf<Word> shift,
                           SymbolOf<Word>* symbols, const std::uint64_t* escapes, const SymbolOf<Word>* next,
                           std::byte* dst) {
  fill_escapes(escapes, layout.num_columns, next, symbols);
  add_shifts(layout, shift, symbols);
  join_fields<Word>(layout, fixed, symbols, dst);
}
