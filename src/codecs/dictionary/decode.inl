// Expands rows by blocks of columns, kLanes of them at a time. Included once per instruction set, inside a namespace,
// behind the primitives that it is made of:
//
//   Lanes                              kLanes numbers of 32 bits, of the compiler's vector types
//   bits_from(src, end, places)        the 32 bits from each of `places` on, counted from `src`; below 8 + 32 × kLanes.
//                                      Bits behind `end` have no meaning; reads at most 64 bytes behind it
//   running_places(widths, lanes)      where fields of these widths, up to 32, begin one behind the other, if only
//                                      `lanes` have one, and where they end
//   equal(a, b), not_below(a, b)       lanes, as bits
//   with_lanes(lanes, a, b)            a in these lanes, b in the others
//   load_words<Word>(src, n)           n words, zeros behind them
//   store_words<Word>(dst, lanes, n)   the first n words

/// One part of a block: kLanes columns of it.
struct Part {
  const ColumnBlock& block;
  std::uint64_t first;   ///< lane of the block
  std::uint64_t column;  ///< of the row
  unsigned count;        ///< columns that the row has

  [[nodiscard]] Lanes operator()(const BlockNumbers& numbers) const {
    return load<Lanes>(reinterpret_cast<const std::byte*>(numbers + first));
  }
  [[nodiscard]] unsigned operator()(unsigned columns) const { return columns >> first & kAllLanes; }
  /// Those of these columns that the row has.
  [[nodiscard]] unsigned with(unsigned columns) const { return (*this)(columns) & ((1U << count) - 1); }
  [[nodiscard]] std::uint64_t number() const { return column / kLanes; }
};

/// Calls visit(part) until it returns false.
template <class Visit>
[[gnu::always_inline]] inline bool for_each_part(const RowTables& tables, const Visit& visit) {
  const ColumnBlock* const end = tables.blocks + tables.num_blocks;
  const ColumnBlock* block = tables.blocks;
  std::uint64_t column = 0;
  for (; column + kLanes <= tables.num_columns; column += kLanes) {
    const std::uint64_t first = column % kBlockColumns;
    if (!visit(Part{*block, first, column, kLanes})) return false;
    if (first + kLanes == kBlockColumns && ++block == end) block = tables.blocks;
  }
  const std::uint64_t left = tables.num_columns - column;
  return left == 0 || visit(Part{*block, column % kBlockColumns, column, static_cast<unsigned>(left)});
}

inline Lanes words_of_numbers(const Part& part, Lanes numbers) {
  return ((numbers << part(part.block.shifts)) + part(part.block.bases)) & part(part.block.domain_masks);
}

/// Reads what follows the fields: patches, then misses.
struct Reader {
  const std::byte* src;
  const std::byte* end;
  std::uint64_t bit;

  [[nodiscard]] bool is_sound() const { return bit <= 8 * static_cast<std::uint64_t>(end - src); }

  /// What lanes have that follow each other. False when the row ends before.
  bool take(const std::uint8_t* widths, unsigned lanes, Lanes& bits) {
    const RunningPlaces running = running_places(widths, lanes);
    bits = bits_from(src + bit / 8, end, running.places + static_cast<std::uint32_t>(bit % 8));
    bit += running.num_bits;
    return is_sound();
  }

  /// The same of one bit each: lanes where it is 1.
  bool take_bits(unsigned lanes, unsigned& ones) {
    ones = static_cast<unsigned>(_pdep_u64(load<std::uint64_t>(src + bit / 8) >> (bit % 8), lanes));
    bit += static_cast<unsigned>(__builtin_popcount(lanes));
    return is_sound();
  }
};

/// Where fields are read.
struct Fields {
  const std::byte* src;
  const std::byte* end;
  std::uint64_t bit;  ///< where the block begins
};

/// The patches of a part.
struct Patches {
  unsigned lanes;
  unsigned misses;
  Lanes at;  ///< which words the others stand for, where has_bit_patches is false

  [[nodiscard]] unsigned entries() const { return lanes & ~misses; }
};

/// Reads patch codes of any width.
inline bool read_patches(const Part& part, Reader& reader, Patches& patches) {
  const ColumnBlock& block = part.block;
  Lanes codes;
  if (!reader.take(block.patch_bits + part.first, patches.lanes, codes)) return false;
  codes &= part(block.patch_masks);
  patches.misses = equal(codes, part(block.patch_masks)) & patches.lanes & part(block.has_misses);
  patches.at = part(block.first_patch_words) + codes;
  return true;
}

/// Adds entries to words in memory, which have their signs.
template <class Word>
inline void add_entries(const RowTables& tables, const Part& part, const Patches& patches, std::byte* dst) {
  // The other columns that can have patches get the zero behind the words: which ones these are is not to be foreseen.
  std::uint32_t at[kLanes];
  const auto zero = static_cast<std::uint32_t>(tables.num_words);
  store(reinterpret_cast<std::byte*>(at), with_lanes(patches.entries(), patches.at, Lanes{} + zero));
  for (unsigned left = part.with(part.block.markers); left != 0; left &= left - 1) {
    const auto lane = static_cast<unsigned>(__builtin_ctz(left));
    std::byte* const place = dst + lane * sizeof(Word);
    const Word entry = load<Word>(tables.words + std::uint64_t{at[lane]} * sizeof(Word));
    store(place, static_cast<Word>(load<Word>(place) | entry));
  }
}

/// Expands a part with short fields but for misses, which it names.
template <class Word>
[[gnu::always_inline]] inline bool expand_short(const RowTables& tables, const Part& part, const Fields& source,
                                                Reader& reader, std::byte* dst, unsigned& misses) {
  const ColumnBlock& block = part.block;
  const ShortFields& fields = block.short_fields;
  static_assert(kMaxShortBits == 2 && kMaxShortBits * kBlockColumns <= 57);
  const std::uint64_t bits = load<std::uint64_t>(source.src + source.bit / 8) >> (source.bit % 8);
  const auto ones_at = [&](unsigned bit) {
    return static_cast<unsigned>(_pdep_u64(_pext_u64(bits, fields.bits[bit]), fields.columns[bit]));
  };
  const unsigned first = ones_at(0);
  const unsigned second = ones_at(1);
  const Lanes even = with_lanes(part(second), part(fields.words[2]), part(fields.words[0]));
  const Lanes odd = with_lanes(part(second), part(fields.words[3]), part(fields.words[1]));
  Lanes words = with_lanes(part(first), odd, even);
  const unsigned markers = (first | fields.any_is_marker[0]) & (second | fields.any_is_marker[1]) & block.markers;
  Patches patches{part.with(markers), 0, Lanes{}};
  if (patches.lanes != 0 && block.has_bit_patches) {
    const unsigned with_bit = patches.lanes & part(block.bit_patches);
    unsigned ones = 0;
    if (!reader.take_bits(with_bit, ones)) return false;
    patches.misses = patches.lanes & part(block.has_misses) & (ones | ~with_bit);
    const Lanes entries = with_lanes(ones, part(block.bit_patch_words[1]), part(block.bit_patch_words[0]));
    words |= with_lanes(patches.entries(), entries, Lanes{});
  }
  store_words<Word>(dst, words, part.count);
  if (patches.lanes != 0 && !block.has_bit_patches) {
    if (!read_patches(part, reader, patches)) return false;
    add_entries<Word>(tables, part, patches, dst);
  }
  misses = patches.misses;
  return true;
}

/// Writes words[at[0]], words[at[1]] … for `count` lanes. One by one: gathers take longer (AMD Zen 4).
template <class Word>
inline void look_up(const std::byte* words, Lanes at, unsigned count, std::byte* dst) {
  const auto put = [&](unsigned lane, std::uint64_t number) {
    store(dst + lane * sizeof(Word), load<Word>(words + number * sizeof(Word)));
  };
  if (count == kLanes) {
    const auto pairs = reinterpret_cast<Pairs>(at);
#pragma GCC unroll 8
    for (unsigned lane = 0; lane < kLanes; lane += 2) {
      const std::uint64_t pair = pairs[lane / 2];
      put(lane, static_cast<std::uint32_t>(pair));
      put(lane + 1, pair >> 32);
    }
  } else {
    std::uint32_t numbers[kLanes];
    store(reinterpret_cast<std::byte*>(numbers), at);
    for (unsigned lane = 0; lane < count; ++lane) put(lane, numbers[lane]);
  }
}

/// Makes the words of some lanes negative.
template <class Word>
inline void add_signs(unsigned lanes, std::byte* dst) {
  for (; lanes != 0; lanes &= lanes - 1) {
    std::byte* const place = dst + static_cast<unsigned>(__builtin_ctz(lanes)) * sizeof(Word);
    store(place, static_cast<Word>(load<Word>(place) | Word{1} << (8 * sizeof(Word) - 1)));
  }
}

/// The same for fields of any width.
template <class Word>
[[gnu::always_inline]] inline bool expand_wide(const RowTables& tables, const Part& part, const Fields& source,
                                               Reader& reader, std::byte* dst, unsigned& misses) {
  const ColumnBlock& block = part.block;
  const WideFields& wide = block.wide_fields;
  const std::uint64_t bit = source.bit + wide.places[part.first];
  const Lanes places = part(wide.places) - wide.places[part.first] + static_cast<std::uint32_t>(bit % 8);
  const Lanes fields = bits_from(source.src + bit / 8, source.end, places) & part(wide.masks);
  const Lanes signs = fields & part(block.sign_bits);
  Lanes at = part(wide.first_words) + fields;
  Patches patches{not_below(fields, part(wide.thresholds)) & part.with(block.markers), 0, Lanes{}};
  if (patches.lanes != 0) {
    if (!read_patches(part, reader, patches)) return false;
    at = with_lanes(patches.entries(), patches.at, at);
    misses = patches.misses;
  }
  const unsigned windows = part(block.windows);
  if (windows == 0) {
    look_up<Word>(tables.words, at, part.count, dst);
    add_signs<Word>(not_below(signs, Lanes{} + 1) & patches.entries(), dst);
    return true;
  }
  std::byte found[kLanes * sizeof(Word)];
  look_up<Word>(tables.words, with_lanes(windows, Lanes{}, at), kLanes, found);
  const Lanes numbers = with_lanes(patches.lanes, Lanes{}, words_of_numbers(part, fields >> part(block.sign_bits)));
  const Lanes words = with_lanes(windows, numbers, load_words<Word>(found, kLanes));
  store_words<Word>(dst, words | signs << (8 * sizeof(Word) - 1), part.count);
  return true;
}

template <class Word>
inline bool decode_row(const RowTables& tables, const StoredRow& row, std::byte* dst) {
  const std::byte* const end = row.data + row.num_bytes;
  Reader reader{row.data, end, tables.num_field_bits};
  Fields fields{row.data, end, 0};
  std::uint16_t missing[kMaxColumns / kLanes];  // the lanes of each part that are misses
  unsigned any = 0;
  const bool is_sound = for_each_part(tables, [&](const Part& part) __attribute__((always_inline)) {
    std::byte* const place = dst + part.column * sizeof(Word);
    unsigned misses = 0;
    if (!(part.block.has_short_fields ? expand_short<Word>(tables, part, fields, reader, place, misses)
                                      : expand_wide<Word>(tables, part, fields, reader, place, misses)))
      return false;
    missing[part.number()] = static_cast<std::uint16_t>(misses);
    any |= misses;
    if (part.first + kLanes == kBlockColumns) fields.bit += part.block.field_bits;
    return true;
  });
  if (!is_sound || any == 0) return is_sound;

  return for_each_part(tables, [&](const Part& part) __attribute__((always_inline)) {
    const unsigned misses = missing[part.number()];
    if (misses == 0) return true;
    Lanes numbers;
    if (!reader.take(part.block.number_bits + part.first, misses, numbers)) return false;
    std::byte* const place = dst + part.column * sizeof(Word);
    const Lanes words = words_of_numbers(part, numbers & part(part.block.number_masks));
    store_words<Word>(place, load_words<Word>(place, part.count) | with_lanes(misses, words, Lanes{}), part.count);
    return true;
  });
}

template <class Word>
std::uint64_t decode(const RowTables& shared_tables, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  const RowTables tables = shared_tables;
  for (std::uint64_t i = 0; i < num_rows; ++i, dst += tables.row_bytes) {
    const StoredRow& row = rows[i];
    if (row.is_raw) {
      __builtin_memcpy(dst, row.data, tables.row_bytes);
    } else if (row.num_bytes < tables.minimum_row_bytes || !decode_row<Word>(tables, row, dst)) {
      return i;
    }
  }
  return num_rows;
}
