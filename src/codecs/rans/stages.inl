// The stages of codec rans in plain C++, for any instruction set and any size of words. Included inside a namespace,
// behind fields/writer.inl and a plane of fields; `pack_fields` and `put_words` come from another file (fields.inl, or
// what an instruction set has in its place).

/// Bytes of fixed fields behind the head of a row: those of a block, those that the states end with, and what whole
/// vectors and groups of words read behind them.
constexpr std::uint64_t kTailBytes = kBlockColumns * 8 + kSeedBytes + 128;

/// Finds the index of each word's symbol. False when a word has a bit set that must be zero, or a symbol without index.
template <class Word>
inline bool take_indices(const RowLayout& layout, const std::byte* row, std::uint8_t* indices) {
  const WordShape shape = layout.shape;
  const std::uint16_t* const index_of_symbol = layout.index_of_symbol;
  Word all = 0;
  unsigned missing = 0;
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) {
    const Word word = load<Word>(row + i * sizeof(Word));
    all = static_cast<Word>(all | word);
    const std::uint16_t index = index_of_symbol[symbol_of(shape, word)];
    missing |= index;
    indices[i] = static_cast<std::uint8_t>(index);
  }
  return (all & shape.forbidden) == 0 && (missing & kNoIndex) == 0;
}

typedef std::uint16_t LevelCosts __attribute__((vector_size(kMaxLevels * sizeof(std::uint16_t))));
typedef std::uint32_t LevelSums __attribute__((vector_size(kMaxLevels * sizeof(std::uint32_t))));

/// The level that makes the code of `count` columns from `first` on shortest.
inline unsigned cheapest_level(const RowLayout& layout, const std::uint8_t* indices, std::uint64_t first,
                               std::uint64_t count) {
  LevelSums sums = {};
  for (std::uint64_t i = first; i < first + count; ++i) {
    const unsigned column_level = layout.column_levels == nullptr ? 0 : layout.column_levels[i];
    LevelCosts costs;
    __builtin_memcpy(&costs, layout.costs + std::size_t{indices[i]} * kCostLevels + column_level, sizeof(costs));
    sums += __builtin_convertvector(costs, LevelSums);
  }
  unsigned best = 0;
  for (unsigned level = 1; level < layout.num_levels; ++level) {
    if (sums[level] < sums[best]) best = level;
  }
  return best;
}

/// Sets the tables of columns in a segment.
inline void set_tables(const RowLayout& layout, unsigned level, std::uint64_t first, std::uint64_t count,
                       std::uint8_t* tables) {
  if (layout.column_levels == nullptr) {
    __builtin_memset(tables + first, static_cast<int>(level), count);
    return;
  }
  // Bytes may be any memory's: only what is said to be apart is worked on in vectors.
  const std::uint8_t* __restrict levels = layout.column_levels + first;
  std::uint8_t* __restrict of_segment = tables + first;
  for (std::uint64_t i = 0; i < count; ++i) of_segment[i] = static_cast<std::uint8_t>(levels[i] + level);
}

/// No number of escapes.
constexpr std::uint64_t kCannot = ~std::uint64_t{0};

/// Makes escapes of the columns whose tables lack their symbols, and takes the symbols of all escapes, in order.
/// Returns how many, or kCannot where a table lacks the escape, too.
template <class Word>
inline std::uint64_t take_escapes(const RowLayout& layout, const std::byte* row, const std::uint8_t* tables,
                                  std::uint8_t* indices, std::uint16_t* escapes) {
  std::uint64_t count = 0;
  for (std::uint64_t i = 0; i < layout.num_columns; ++i) {
    const CodedSymbol* const coded = layout.coded + (tables == nullptr ? 0 : std::size_t{tables[i]} * kMaxSymbols);
    const bool is_lacking = coded[indices[i]].frequency == 0;
    if (!is_lacking && (!layout.has_escapes || indices[i] != layout.escape_index)) continue;
    if (!layout.has_escapes || coded[layout.escape_index].frequency == 0) return kCannot;
    indices[i] = static_cast<std::uint8_t>(layout.escape_index);
    escapes[count++] = static_cast<std::uint16_t>(symbol_of(layout.shape, load<Word>(row + i * sizeof(Word))));
  }
  return count;
}

/// The states that encoding begins with: they carry the last bytes of the fixed fields.
inline void begin_states(const RowLayout& layout, const std::byte* fields, std::uint32_t* states) {
  std::uint16_t seeds[kStates] = {};
  __builtin_memcpy(seeds, fields + layout.stored_bytes, layout.fixed_bytes - layout.stored_bytes);
  for (unsigned i = 0; i < kStates; ++i) states[i] = kLowestState | seeds[i];
}

/// Encodes a row's indices, the last first, and writes the stream so that it ends at `end`. Returns its bytes, or more
/// than `most_bytes` when there are more. Preconditions: the tables have all indices; kSeedBytes before `most_bytes`
/// are writable.
template <bool kWrites>
inline std::uint64_t encode_stream(const RowLayout& layout, const std::uint8_t* tables, const std::uint8_t* indices,
                                   std::uint32_t* states, std::byte* end, std::uint64_t most_bytes) {
  const unsigned scale_bits = layout.scale_bits;
  std::uint64_t num_bytes = 0;
  std::uint64_t left = layout.num_columns;
  while (left > 0 && num_bytes <= most_bytes) {
    const std::uint64_t first = (left - 1) / kStates * kStates;
    for (std::uint64_t i = left; i-- > first;) {
      const std::size_t table = tables == nullptr ? 0 : tables[i];
      const CodedSymbol symbol = layout.coded[table * kMaxSymbols + indices[i]];
      std::uint32_t state = states[i - first];
      // A word is due where the state would leave its 32 bits. Without a branch, which could not be foreseen: what is
      // not due is written, and then written over.
      const std::uint64_t least_due = std::uint64_t{symbol.frequency} << (32 - scale_bits);
      const std::uint32_t is_due = state >= least_due ? 1 : 0;
      if constexpr (kWrites) store(end - num_bytes - 2, static_cast<std::uint16_t>(state));
      num_bytes += std::uint64_t{2} * is_due;
      state >>= is_due * kWordBits;
      states[i - first] = retreat(state, symbol, scale_bits);
    }
    left = first;
  }
  return num_bytes;
}

/// The states of a row and the words that they take; how these are taken, round by round, is a reader's.
class RowStates {
 public:
  RowStates() = default;  ///< of no row
  RowStates(const std::byte* states, const std::byte* next, const std::byte* end) : next_(next), end_(end) {
    __builtin_memcpy(states_, states, kStateBytes);
  }

  /// Gives back what the states end with. False when they cannot be what encoding began with.
  bool finish(std::byte* seeds) const {
    std::uint32_t others = 0;
    for (unsigned i = 0; i < kStates; ++i) {
      others |= states_[i] >> kWordBits ^ 1U;
      store(seeds + 2 * i, static_cast<std::uint16_t>(states_[i]));
    }
    return others == 0;
  }

 protected:
  /// A step of the first `count` states; writes their indices. Behind the end at most a round's words are read.
  __attribute__((always_inline)) void take_one_by_one(const RowLayout& layout, const std::uint8_t* tables,
                                                      std::uint64_t count, std::uint8_t* indices) {
    const unsigned scale_bits = layout.scale_bits;
    const std::uint32_t mask = (std::uint32_t{1} << scale_bits) - 1;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint32_t table = tables == nullptr ? 0 : std::uint32_t{tables[i]} << scale_bits;
      const Slot slot = layout.slots[table + (states_[i] & mask)];
      indices[i] = static_cast<std::uint8_t>(index_of(slot));
      const std::uint32_t state = advance(states_[i], slot, scale_bits);
      // Without a branch, which could not be foreseen.
      const std::uint32_t word = load<std::uint16_t>(next_);
      const std::uint32_t is_low = state < kLowestState ? 1 : 0;
      states_[i] = state << (is_low * kWordBits) | (word & (0 - is_low));
      next_ += std::size_t{2} * is_low;
    }
  }

  std::uint32_t states_[kStates];
  const std::byte* next_ = nullptr;
  const std::byte* end_ = nullptr;
};

/// State by state.
class PortableReader : public RowStates {
 public:
  /// One row's states are many chains already: with two rows at a time it took longer (0.8 times the speed on bf16,
  /// when what a state takes was a branch).
  static constexpr unsigned kRowsTogether = 1;

  using RowStates::RowStates;

  /// Takes the indices of columns `first` to `first + count`, a whole block unless they are the row's last. False when
  /// the words do not suffice.
  bool take(const RowLayout& layout, const std::uint8_t* tables, std::uint64_t first, std::uint64_t count,
            std::uint8_t* indices) {
    for (std::uint64_t begin = 0; begin < count; begin += kStates) {
      const std::uint64_t in_round = count - begin < kStates ? count - begin : kStates;
      take_one_by_one(layout, tables == nullptr ? nullptr : tables + first + begin, in_round, indices + begin);
      if (next_ > end_) return false;
    }
    return true;
  }
};
