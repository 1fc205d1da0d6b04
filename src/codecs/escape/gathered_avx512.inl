// Decoding rows that are gathered, and have not all arrived, by AVX-512: each step is done for four of them before the
// next one, few escapes stay in registers, and nothing behind a row's end is touched. Included by kernels_avx512.cpp,
// behind join_avx512.inl, whose way for rows that follow each other was 5 to 50 % slower here (Zen 4, 2026-11-21).

namespace gathered {

/// A tier behind the first: what its codes need to be taken apart and looked up, set up once for many rows.
class LaterTier {
 public:
  LaterTier() = default;
  LaterTier(const RowLayout& layout, unsigned tier)
      : codes_{layout.tier_bits[tier]},
        from_byte_(codes_.rest_from_byte()),
        from_bit_(codes_.rest_from_bit()),
        symbol_of_code_(symbols_of_codes(layout, tier)) {}

  /// The bytes of `count` codes.
  [[nodiscard]] std::uint64_t plane_bytes(std::uint64_t count) const { return (count * codes_.width + 7) / 8; }

  /// The codes of a plane from number `first` on, of which `count` are left.
  [[nodiscard]] __attribute__((always_inline)) __m512i codes(const StoredBytes& row, const std::byte* plane,
                                                             std::uint64_t first, std::uint64_t count) const {
    const std::byte* const src = plane + first / 8 * codes_.width;
    if (count >= kBlockCodes) return codes_.block(src);
    const std::byte* const from = row.last_from(src);
    const __m512i skipped = byte_of(static_cast<std::uint64_t>(src - from));
    const __m512i bytes = _mm512_permutexvar_epi8(_mm512_add_epi8(from_byte_, skipped), _mm512_loadu_si512(from));
    return codes_.rest_of(_mm512_multishift_epi64_epi8(from_bit_, bytes));
  }

  [[nodiscard]] __m512i symbols(__m512i codes) const { return _mm512_shuffle_epi8(symbol_of_code_, codes); }

 private:
  Codes codes_{1};
  __m512i from_byte_ = _mm512_setzero_si512();
  __m512i from_bit_ = _mm512_setzero_si512();
  __m512i symbol_of_code_ = _mm512_setzero_si512();
};

/// Which of `count` codes are the escape.
inline __mmask64 escapes_in(__m512i codes, std::uint64_t count) {
  return _mm512_mask_testn_epi8_mask(lanes_of(count), codes, codes);
}

/// A row whose escapes are being found.
struct OpenRow {
  StoredBytes bytes;
  const std::byte* src;         ///< what is to be read next
  std::uint64_t count;          ///< escapes of the first tier
  std::uint64_t num_later;      ///< of the second
  __m512i later;                ///< their symbols
  const std::uint8_t* symbols;  ///< of the first tier's escapes, in order; kLanes bytes behind them can be read
  std::uint8_t shift;
};

/// Finds the symbols of rows' first-tier escapes, step by step. Each step waits for the one before it, since every
/// plane's place depends on a count; so each is done for several rows before the next. A step that returns false found
/// the row malformed, or with more escapes than there is room for.
class EscapeFinder {
 public:
  /// Symbols are stored in `room` bytes from `scratch` on, behind which kLanes more may be written.
  EscapeFinder(const RowLayout& layout, const Turn& turn, std::uint8_t* scratch, std::uint64_t room)
      : layout_(layout), num_tiers_(layout.num_tiers), turn_(turn), scratch_(scratch), room_(room) {
    if (layout.num_tiers > 1) second_ = LaterTier(layout, 1);
    if (layout.num_tiers > 2) third_ = LaterTier(layout, 2);
  }

  /// Begins with no rows.
  void clear() { used_ = 0; }

  /// Counts the escapes of the first tier, and reserves room for their symbols.
  __attribute__((always_inline)) bool open(const StoredBytes& bytes, OpenRow& row) {
    if (static_cast<std::uint64_t>(bytes.end - bytes.begin) < layout_.minimum_row_bytes) return false;
    const std::byte* src = bytes.begin + layout_.fixed_bytes;
    const std::uint64_t count = begin_first_tier(layout_, src, nullptr, nullptr);
    src += layout_.code_bytes;
    const std::uint8_t shift = layout_.row_shifts ? stillbit::load<std::uint8_t>(src++) : 0;
    row.bytes = bytes;
    row.src = src;
    row.count = count;
    row.symbols = scratch_ + used_;
    row.shift = shift;
    if (count > room_ - used_) return false;
    used_ += (count + kLanes - 1) / kLanes * kLanes;
    return true;
  }

  /// Takes the codes of the second tier, or the symbols if there is none.
  __attribute__((always_inline)) bool take_second(OpenRow& row) const {
    const StoredBytes bytes = row.bytes;
    const std::byte* const src = row.src;
    const std::uint64_t count = row.count;
    std::uint8_t* const symbols = scratch_ + (row.symbols - scratch_);
    const auto left = static_cast<std::uint64_t>(bytes.end - src);
    if (num_tiers_ == 1) {
      if (count > left) return false;
      for (std::uint64_t i = 0; i < count; i += kLanes)
        _mm512_storeu_si512(symbols + i, turn_(bytes.load_last(src + i)));
      return true;
    }
    const std::uint64_t plane_bytes = second_.plane_bytes(count);
    if (plane_bytes > left) return false;
    std::uint64_t num_later = 0;
    for (std::uint64_t i = 0; i < count; i += kLanes) {
      const __m512i codes = second_.codes(bytes, src, i, count - i);
      num_later += count_of(escapes_in(codes, count - i));
      _mm512_storeu_si512(symbols + i, codes);
    }
    row.num_later = num_later;
    row.src = src + plane_bytes;
    return num_later <= kLanes;
  }

  /// Takes the symbols that the second tier lacks.
  __attribute__((always_inline)) bool take_later(OpenRow& row) const {
    const StoredBytes bytes = row.bytes;
    const std::byte* const src = row.src;
    const std::uint64_t count = row.num_later;
    const auto left = static_cast<std::uint64_t>(bytes.end - src);
    if (num_tiers_ == 2) {
      row.later = bytes.load_last(src);
      return count <= left;
    }
    const std::uint64_t plane_bytes = third_.plane_bytes(count);
    if (plane_bytes > left) return false;
    const __m512i codes = third_.codes(bytes, src, 0, count);
    const __mmask64 found = escapes_in(codes, count);
    row.later = _mm512_mask_expand_epi8(third_.symbols(codes), found, bytes.load_last(src + plane_bytes));
    return count_of(found) <= left - plane_bytes;
  }

  /// Puts the symbols together, turned.
  __attribute__((always_inline)) void close(const OpenRow& row) const {
    const std::uint64_t count = row.count;
    std::uint8_t* const symbols = scratch_ + (row.symbols - scratch_);
    const __m512i later = row.later;
    std::uint64_t taken = 0;
    for (std::uint64_t i = 0; i < count; i += kLanes) {
      const __m512i codes = _mm512_loadu_si512(symbols + i);
      const __mmask64 found = escapes_in(codes, count - i);
      const __m512i next = bytes_from(later, taken);
      taken += count_of(found);
      _mm512_storeu_si512(symbols + i, turn_(_mm512_mask_expand_epi8(second_.symbols(codes), found, next)));
    }
  }

 private:
  const RowLayout& layout_;
  unsigned num_tiers_;
  Turn turn_;
  std::uint8_t* scratch_;
  std::uint64_t room_;  ///< a multiple of kLanes
  std::uint64_t used_ = 0;
  LaterTier second_;
  LaterTier third_;
};

/// Puts rows together, as a Writer writes them. Where kIsTurned, symbols come turned, and have no shifts. What all rows
/// have in common is set up once: it takes as long as a short row. It is copied, too: bytes that are written might be
/// the layout's, for all that the compiler knows.
template <class Word, class Writer, Join kJoin, bool kIsTurned, unsigned kWidth>
class Joiner {
 public:
  explicit Joiner(const RowLayout& layout)
      : num_columns_(layout.num_columns),
        row_bytes_(layout.row_bytes),
        fixed_bytes_(layout.fixed_bytes),
        vector_plane_bytes_(layout.unpacking.plane_bytes),
        column_shifts_(layout.column_shifts),
        turn_(layout.shape.symbol_at % 8),
        symbol_of_code_(symbols_of_codes(layout, 0)),
        from_byte_(_mm512_loadu_si512(layout.unpacking.from_byte)),
        from_bit_(_mm512_loadu_si512(layout.unpacking.from_bit)),
        fixed_mask_(Lanes<Word>::set(layout.unpacked_mask)),
        symbol_mask_(Lanes<Word>::set(layout.shape.symbol_mask << layout.shape.symbol_at)),
        symbol_byte_mask_{byte_of(layout.shape.symbol_mask << layout.shape.symbol_at),
                          byte_of(layout.shape.symbol_mask << layout.shape.symbol_at >> 8)},
        sign_mask_(Lanes<Word>::set(layout.shape.sign_mask)),
        sign_shift_(shift_count(layout.shape.symbol_bits)) {
    if constexpr (kIsTurned) symbol_of_code_ = turn_(symbol_of_code_);
  }

  __attribute__((always_inline)) void join(const StoredBytes& row, const std::uint8_t* next, std::uint8_t shift,
                                           std::byte* dst) const {
    Writer writer(dst);
    const std::byte* fixed = row.begin;
    const std::byte* src = row.begin + fixed_bytes_;
    const __m512i row_shift = byte_of(shift);
    for (std::uint64_t first = 0; first < num_columns_; first += kLanes, src += 8 * kWidth) {
      const __m512i code = codes_at(Codes{kWidth}, row, src, num_columns_ - first);
      // Escapes behind the last column take symbols that do not matter.
      const __mmask64 found = _mm512_testn_epi8_mask(code, code);
      const __m512i expanded = expand(_mm512_shuffle_epi8(symbol_of_code_, code), found, next);
      next += count_of(found);
      const __m512i symbols = [&]() __attribute__((always_inline)) {
        if constexpr (kIsTurned) {
          return expanded;
        } else {
          return turn_(shifted(expanded, row_shift, first));
        }
      }();
      const auto put = [&](std::uint64_t offset, auto lanes, __m512i words) __attribute__((always_inline)) {
        if constexpr (std::is_same_v<decltype(lanes), AllLanes>) {
          writer.put(offset, words);
        } else {
          Lanes<Word>::store_some(dst + offset, lanes, words);
        }
      };
      if constexpr (kJoin == Join::kByteOfTwo) {
        const __m512i field = row.load(fixed);
        fixed += kLanes;
        const __m512i low = selected(symbol_byte_mask_[0], symbols, field);
        const __m512i high = selected(symbol_byte_mask_[1], symbols, field);
        for_each_vector<Word>(first, num_columns_, [&](unsigned part, std::uint64_t offset, auto lanes) {
          put(offset, lanes, _mm512_permutex2var_epi8(low, interleaved(part), high));
        });
      } else {
        for_each_vector<Word>(first, num_columns_, [&](unsigned part, std::uint64_t offset, auto lanes) {
          __m512i field = _mm512_permutexvar_epi8(from_byte_, row.load(fixed));  // NOLINT(misc-const-correctness)
          fixed += vector_plane_bytes_;
          if constexpr (kJoin != Join::kWholeBytes) field = _mm512_multishift_epi64_epi8(from_bit_, field);
          put(offset, lanes, word_of(field, symbols, part));
        });
      }
    }
    writer.finish(row_bytes_ / 64 * 64);
  }

 private:
  static constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c

  /// Symbols with their shifts.
  [[nodiscard]] __m512i shifted(__m512i symbols, __m512i row_shift, std::uint64_t first) const {
    symbols = _mm512_add_epi8(symbols, row_shift);
    if (column_shifts_ == nullptr) return symbols;
    return _mm512_add_epi8(symbols, _mm512_loadu_si512(column_shifts_ + first));
  }

  /// Which bytes of two vectors make words of two bytes, for either half of them.
  static __m512i interleaved(unsigned part) {
    const __m512i word_in_half = _mm512_and_si512(_mm512_srli_epi16(lane_numbers(), 1), byte_of(0x1F));
    const __m512i from_second = _mm512_set1_epi16(0x4000);
    return _mm512_or_si512(_mm512_or_si512(word_in_half, from_second), byte_of(32 * part));
  }

  /// Which symbol each byte of a vector of words takes.
  static __m512i symbol_places(unsigned part) {
    constexpr unsigned kShift = sizeof(Word) / 2;  // log2 of 1, 2 and 4
    const __m512i word_in_part = _mm512_and_si512(_mm512_srli_epi16(lane_numbers(), kShift), byte_of(0x3FU >> kShift));
    return _mm512_or_si512(word_in_part, byte_of(64 / sizeof(Word) * part));
  }

  [[nodiscard]] __m512i word_of(__m512i field, __m512i symbols, unsigned part) const {
    const __m512i placed = sizeof(Word) == 1 ? symbols : _mm512_permutexvar_epi8(symbol_places(part), symbols);
    const __m512i symbol = _mm512_and_si512(placed, symbol_mask_);
    const __m512i word = _mm512_ternarylogic_epi64(field, fixed_mask_, symbol, kFirstUnderSecondOrThird);
    if constexpr (kJoin != Join::kAny) return word;
    return _mm512_ternarylogic_epi64(Lanes<Word>::shift_left(field, sign_shift_), sign_mask_, word,
                                     kFirstUnderSecondOrThird);
  }

  std::uint64_t num_columns_;
  std::uint64_t row_bytes_;
  std::uint64_t fixed_bytes_;
  std::uint64_t vector_plane_bytes_;  ///< of the fields of one vector of words
  const std::byte* column_shifts_;
  Turn turn_;
  __m512i symbol_of_code_;
  __m512i from_byte_;
  __m512i from_bit_;
  __m512i fixed_mask_;
  __m512i symbol_mask_;
  __m512i symbol_byte_mask_[2];  ///< of the low and the high byte of words of two
  __m512i sign_mask_;
  __m128i sign_shift_;
};

using JoinRows = void(const RowLayout& layout, const OpenRow* rows, std::uint64_t num_rows, std::byte* dst);

template <class Word, class Writer, Join kJoin, bool kIsTurned, unsigned kWidth>
void join_rows(const RowLayout& layout, const OpenRow* rows, std::uint64_t num_rows, std::byte* dst) {
  const Joiner<Word, Writer, kJoin, kIsTurned, kWidth> joiner(layout);
  const std::uint64_t row_bytes = layout.row_bytes;
  for (std::uint64_t i = 0; i < num_rows; ++i, dst += row_bytes)
    joiner.join(rows[i].bytes, rows[i].symbols, rows[i].shift, dst);
}

template <class Word, class Writer, Join kJoin, bool kIsTurned>
inline JoinRows* joining_with(const RowLayout& layout) {
  static constexpr JoinRows* kOfWidth[] = {
      join_rows<Word, Writer, kJoin, kIsTurned, 1>, join_rows<Word, Writer, kJoin, kIsTurned, 2>,
      join_rows<Word, Writer, kJoin, kIsTurned, 3>, join_rows<Word, Writer, kJoin, kIsTurned, 4>};
  return kOfWidth[layout.tier_bits[0] - 1];
}

/// What puts rows of this layout together.
template <class Word, bool kPastCaches, bool kIsTurned>
inline JoinRows* joining(const RowLayout& layout) {
  using Writer = std::conditional_t<kPastCaches, LineWriter, VectorWriter>;
  if (!layout.unpacks_sign) return joining_with<Word, Writer, Join::kAny, kIsTurned>(layout);
  if (!layout.unpacking.is_whole_bytes) return joining_with<Word, Writer, Join::kSignInPlace, kIsTurned>(layout);
  if constexpr (sizeof(Word) == 2) {
    if (layout.shape.fixed_bits == 8 && layout.shape.sign_bits == 1)
      return joining_with<Word, Writer, Join::kByteOfTwo, kIsTurned>(layout);
  }
  return joining_with<Word, Writer, Join::kWholeBytes, kIsTurned>(layout);
}

/// Rows that are decoded together where they are gathered, so that the steps of one do not wait for each other. Eight
/// write so much at once that rows which arrive from memory have to wait. Rows that follow each other are decoded one
/// at a time: the processor requests them ahead, in order, and four in turn took a quarter longer (Zen 4, 2026-11-21).
constexpr std::uint64_t kGroupRows = 4;

/// Bytes for the symbols of a group.
constexpr std::uint64_t kGroupSymbols = kGroupRows * kGroupColumns;

/// Rows of these sizes that are written past the caches, of words of two bytes, are requested once more, into the first
/// cache: they have arrived in the second one by then. They take 5 to 10 % less time so. Of 512 bytes they took from
/// a tenth less to a tenth more, shorter ones up to 5 % more, longer ones as much as before, and words of four bytes
/// a tenth more (Zen 4, 2026-11-22).
constexpr std::uint64_t kLeastRequestedBytes = 768;
constexpr std::uint64_t kMostRequestedBytes = 1023;

inline void request(const StoredRow* rows, std::uint64_t num_rows) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    for (std::uint64_t at = 0; at < rows[i].num_bytes; at += 64) __builtin_prefetch(rows[i].data + at);
    __builtin_prefetch(rows[i].data + rows[i].num_bytes - 1);
  }
}

/// As decode_in_turn, but that it may also stop before a row with very many escapes.
template <class Word, bool kPastCaches>
std::uint64_t decode_rows(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  if (layout.num_columns > kGroupColumns) return 0;
  alignas(64) std::uint8_t symbols[kGroupSymbols + 2 * kLanes];
  OpenRow open[kGroupRows];
  const bool has_shifts = layout.row_shifts || layout.column_shifts != nullptr;
  EscapeFinder finder(layout, Turn(has_shifts ? 0 : layout.shape.symbol_at % 8), symbols, kGroupSymbols);
  JoinRows* const join =
      has_shifts ? joining<Word, kPastCaches, false>(layout) : joining<Word, kPastCaches, true>(layout);
  const bool is_gathered = num_rows <= RowCodec::kGatheredRows;
  if (kPastCaches && sizeof(Word) == 2 && is_gathered && layout.row_bytes >= kLeastRequestedBytes &&
      layout.row_bytes <= kMostRequestedBytes)
    request(rows, num_rows);
  const std::uint64_t most = is_gathered ? kGroupRows : 1;
  std::uint64_t first = 0;
  while (first < num_rows) {
    finder.clear();
    std::uint64_t num_open = 0;
    for (; num_open < most && first + num_open < num_rows; ++num_open) {
      const StoredRow& row = rows[first + num_open];
      if (row.is_raw || !finder.open({row.data, row.data + row.num_bytes}, open[num_open])) break;
    }
    // The first row for which a step cannot be done ends the group.
    const auto for_each_row = [&](const auto& step) __attribute__((always_inline)) {
      for (std::uint64_t i = 0; i < num_open; ++i) {
        if (!step(open[i])) num_open = i;
      }
    };
    for_each_row([&](OpenRow& row) { return finder.take_second(row); });
    if (layout.num_tiers > 1) {
      for_each_row([&](OpenRow& row) { return finder.take_later(row); });
      for_each_row([&](OpenRow& row) { return finder.close(row), true; });
    }
    if (num_open == 0) break;
    join(layout, open, num_open, dst + first * layout.row_bytes);
    first += num_open;
  }
  return first;
}

}  // namespace gathered
