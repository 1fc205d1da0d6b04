// The loop over rows that are decoded by AVX-512, from memory that follows or is gathered. Included by
// kernels_avx512.cpp, behind join_avx512.inl.

/// Rows of up to so many columns are decoded in turn, each step for one after the other.
constexpr std::uint64_t kGroupColumns = 2048;

/// How far ahead the memory of rows that follow each other is requested, in bytes: the processor, which would do so by
/// itself, is led astray by a row's codes, which are read before its fields. Twice as far is 8 % slower (Zen 4).
constexpr std::uint64_t kRequestedAhead = 2048;

/// Rows of these sizes that are gathered and written past the caches, of words of two bytes, are requested once more,
/// into the first cache: they have arrived in the second one by then. They take 5 to 10 % less time so. Of 512 bytes
/// they took from a tenth less to a tenth more, shorter ones up to 5 % more, longer ones as much as before, and words
/// of four bytes a tenth more (Zen 4, 2026-11-22).
constexpr std::uint64_t kLeastRequestedBytes = 768;
constexpr std::uint64_t kMostRequestedBytes = 1023;

inline void request(const StoredRow* rows, std::uint64_t num_rows) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    for (std::uint64_t at = 0; at < rows[i].num_bytes; at += 64) __builtin_prefetch(rows[i].data + at);
    __builtin_prefetch(rows[i].data + rows[i].num_bytes - 1);
  }
}

/// Decodes rows up to the first one that is raw or malformed; `Joiner` puts them together. Where kLead is 1, that is done
/// for a row while the escapes of the two behind it are found. A function of its own: its scratch, which is large, is
/// on the stack.
template <class Joiner, Rows kRows, std::uint64_t kLead, bool kRequests, std::uint64_t kColumns>
__attribute__((noinline)) std::uint64_t decode_with(const RowLayout& layout, bool is_turned, const StoredRow* rows,
                                                    std::uint64_t num_rows, std::byte* dst) {
  constexpr std::uint64_t kOpenRows = 2 * kLead + 1;
  alignas(64) std::uint8_t later[kOpenRows][symbol_room(kColumns)];
  alignas(64) std::uint8_t symbols[kOpenRows][symbol_room(kColumns)];
  OpenRow open[kOpenRows];
  const EscapeFinder<kRows> finder(layout, Turn(is_turned ? layout.shape.symbol_at % 8 : 0));
  const Joiner joiner(layout, is_turned);
  const std::uint64_t row_bytes = layout.row_bytes;
  // The first row for which a step cannot be done ends the group.
  std::uint64_t end = num_rows;
  for (std::uint64_t i = 0; i < end + 2 * kLead; ++i) {
    // Does a step for the row that was opened so many rows ago.
    const auto step = [&](std::uint64_t ago, const auto& does) __attribute__((always_inline)) {
      const std::uint64_t row = i - ago;
      if (i >= ago && row < end && !does(row, row % kOpenRows)) end = row;
    };
    if constexpr (kRequests) {
      for (std::uint64_t at = 0; at < rows[i].num_bytes; at += 64)
        _mm_prefetch(reinterpret_cast<const char*>(rows[i].data + kRequestedAhead + at), _MM_HINT_T0);
    }
    step(0, [&](std::uint64_t row, std::uint64_t at) __attribute__((always_inline)) {
      const StoredRow& stored = rows[row];
      return !stored.is_raw && finder.open({stored.data, stored.data + stored.num_bytes}, open[at], later[at], symbols[at]);
    });
    step(kLead, [&](std::uint64_t, std::uint64_t at) __attribute__((always_inline)) {
      return finder.close(open[at], later[at], symbols[at]);
    });
    step(2 * kLead, [&](std::uint64_t row, std::uint64_t at) __attribute__((always_inline)) {
      const OpenRow& found = open[at];
      return joiner.join(found.bytes, symbols[at], static_cast<std::uint8_t>(found.parts.shift), dst + row * row_bytes) ==
             found.parts.num_codes[1];
    });
  }
  return end;
}

/// The layout that trained weights of two and four bytes mostly have: it has loops of its own.
template <class Word>
constexpr Join kUsualJoin = sizeof(Word) == 2 ? Join::kByteOfTwo : Join::kWholeBytes;

template <class Word>
inline bool is_usual(const RowLayout& layout, bool is_turned) {
  return sizeof(Word) > 1 && is_turned && layout.tier_bits[0] == 2 && join_for<Word>(layout) == kUsualJoin<Word>;
}

/// Decodes rows up to the first one that is raw or malformed. Returns how many these are.
template <class Word, bool kPastCaches>
std::uint64_t decode_group(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  using Writer = std::conditional_t<kPastCaches, LineWriter, VectorWriter>;
  using Usual = Joiner<Word, Writer, kUsualJoin<Word>, true, 2>;
  using Any = AnyJoiner<Word, Writer>;
  const bool is_turned = !layout.row_shifts && layout.column_shifts == nullptr;
  if (layout.num_columns > kGroupColumns) {
    constexpr std::uint64_t kColumns = kMaxRowBytes / sizeof(Word);
    return decode_with<Any, Rows::kInOrder, 0, false, kColumns>(layout, is_turned, rows, num_rows, dst);
  }
  const bool usual = is_usual<Word>(layout, is_turned);
  if (num_rows <= RowCodec::kGatheredRows) {
    if (kPastCaches && sizeof(Word) == 2 && layout.row_bytes >= kLeastRequestedBytes &&
        layout.row_bytes <= kMostRequestedBytes)
      request(rows, num_rows);
    const auto decode =
        usual ? decode_with<Usual, Rows::kGathered, 1, false, kGroupColumns> : decode_with<Any, Rows::kGathered, 1, false, kGroupColumns>;
    return decode(layout, is_turned, rows, num_rows, dst);
  }
  // From memory all steps are done for a row before the next one: it arrives in that order.
  constexpr std::uint64_t kLead = kPastCaches ? 0 : 1;
  const auto decode = usual ? decode_with<Usual, Rows::kInOrder, kLead, kPastCaches, kGroupColumns>
                            : decode_with<Any, Rows::kInOrder, kLead, kPastCaches, kGroupColumns>;
  return decode(layout, is_turned, rows, num_rows, dst);
}
