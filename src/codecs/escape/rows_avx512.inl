// The loop over rows that are decoded by AVX-512, from memory that follows or is gathered. Included by
// kernels_avx512.cpp, behind join_avx512.inl.

/// Rows of up to so many columns are decoded in turn, each step for one after the other.
constexpr std::uint64_t kGroupColumns = 2048;

/// Rows that are decoded together, each step for all of them before the next. Eight write so much at once that rows
/// which arrive from memory have to wait (Zen 4, 2026-11-21).
constexpr std::uint64_t kGroupRows = 4;

/// Decodes rows up to the first one that is raw or malformed, kGroup at a time; `Joiner` puts them together. A function
/// of its own: its scratch, which is large, is on the stack.
template <class Writer, class Joiner, class Tiers, Rows kRows, std::uint64_t kGroup, std::uint64_t kColumns>
__attribute__((noinline)) std::uint64_t decode_with(const RowLayout& layout, bool is_turned, bool in_order,
                                                    const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  alignas(64) std::uint8_t symbols[kGroup][2][symbol_room(kColumns)];
  OpenRow open[kGroup];
  for (std::uint64_t i = 0; i < kGroup; ++i) {
    open[i].later = symbols[i][0];
    open[i].symbols = symbols[i][1];
  }
  const EscapeFinder<Tiers, kRows> finder(layout, Turn(is_turned ? layout.shape.symbol_at % 8 : 0));
  const bool in_parts = in_order && layout.row_bytes >= kLeastInParts;
  const Joiner joiner(layout, is_turned, in_parts);
  Writer writer(dst);
  std::uint64_t first = 0;
  while (first < num_rows) {
    if (in_order && !in_parts) request_ahead_of(rows[first].data, rows[first].num_bytes);
    const std::uint64_t wanted = num_rows - first < kGroup ? num_rows - first : kGroup;
    // The first row for which a step cannot be done ends the group.
    std::uint64_t num_open = 0;
    while (num_open < wanted && finder.open(rows[first + num_open], open[num_open])) ++num_open;
    std::uint64_t num_closed = 0;
    while (num_closed < num_open && finder.close(open[num_closed])) ++num_closed;
    std::uint64_t num_joined = 0;
    for (; num_joined < num_closed; ++num_joined) {
      const OpenRow& row = open[num_joined];
      const auto shift = static_cast<std::uint8_t>(row.parts.shift);
      if (joiner.join(row.bytes, row.symbols, shift, writer) != row.parts.num_codes[1]) break;
    }
    first += num_joined;
    if (num_joined < wanted) break;
  }
  writer.finish();
  return first;
}

/// The layout that trained weights of two and four bytes mostly have: it has loops of its own.
template <class Word>
constexpr Join kUsualJoin = sizeof(Word) == 2 ? Join::kByteOfTwo : Join::kWholeBytes;

/// Of the first tier's codes.
constexpr unsigned kUsualWidth = 2;

template <class Word>
inline bool is_usual(const RowLayout& layout, bool is_turned) {
  if (sizeof(Word) == 1 || !is_turned || join_for<Word>(layout) != kUsualJoin<Word>) return false;
  return layout.num_tiers == UsualTiers::count() && layout.tier_bits[0] == kUsualWidth;
}

/// Decodes rows up to the first one that is raw or malformed. Returns how many these are.
template <class Word, bool kPastCaches>
std::uint64_t decode_group(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  using Writer = std::conditional_t<kPastCaches, LineWriter, VectorWriter>;
  using Usual = Joiner<Word, Writer, kUsualJoin<Word>, true, kUsualWidth>;
  using Any = AnyJoiner<Word, Writer>;
  const bool is_turned = !layout.row_shifts && layout.column_shifts == nullptr;
  const bool usual = is_usual<Word>(layout, is_turned);
  const bool are_gathered = num_rows <= RowCodec::kGatheredRows;
  if (layout.num_columns > kGroupColumns) {
    constexpr std::uint64_t kColumns = kMaxRowBytes / sizeof(Word);
    const auto decode = usual ? decode_with<Writer, Usual, UsualTiers, Rows::kInOrder, 1, kColumns>
                              : decode_with<Writer, Any, AnyTiers, Rows::kInOrder, 1, kColumns>;
    return decode(layout, is_turned, kPastCaches && !are_gathered, rows, num_rows, dst);
  }
  if (are_gathered) {
    if (kPastCaches && sizeof(Word) == 2 && layout.row_bytes >= kLeastRequestedBytes &&
        layout.row_bytes <= kMostRequestedBytes)
      request_again(rows, num_rows);
    const auto decode = usual ? decode_with<Writer, Usual, UsualTiers, Rows::kGathered, kGroupRows, kGroupColumns>
                              : decode_with<Writer, Any, AnyTiers, Rows::kGathered, kGroupRows, kGroupColumns>;
    return decode(layout, is_turned, false, rows, num_rows, dst);
  }
  // From memory all steps are done for a row before the next one: it arrives in that order.
  constexpr std::uint64_t kGroup = kPastCaches ? 1 : kGroupRows;
  const auto decode = usual ? decode_with<Writer, Usual, UsualTiers, Rows::kInOrder, kGroup, kGroupColumns>
                            : decode_with<Writer, Any, AnyTiers, Rows::kInOrder, kGroup, kGroupColumns>;
  return decode(layout, is_turned, kPastCaches, rows, num_rows, dst);
}
