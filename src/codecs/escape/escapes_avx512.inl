// The symbols of the first tier's escapes by AVX-512: found for a row before it is put together. Included by
// kernels_avx512.cpp, behind decode_avx512.inl.

/// The bits of `a` where `mask` has ones, and elsewhere those of `b`.
inline __m512i selected(__m512i mask, __m512i a, __m512i b) {
  constexpr int kSecondWhereFirstElseThird = 0xCA;
  return _mm512_ternarylogic_epi64(mask, a, b, kSecondWhereFirstElseThird);
}

/// Each byte rotated to the left by `count`, below 8: how symbols are *turned* to fit into words, where a symbol lies
/// in two bytes.
class Turn {
 public:
  explicit Turn(unsigned count)
      : left_(shift_count(count)), right_(shift_count(8 - count)), upper_(byte_of(0xFFU << count)) {}

  [[nodiscard]] __m512i operator()(__m512i bytes) const {
    return selected(upper_, _mm512_sll_epi16(bytes, left_), _mm512_srl_epi16(bytes, right_));
  }

 private:
  __m128i left_;
  __m128i right_;
  __m512i upper_;
};

/// Bytes for the symbols of a row of `num_columns`, or of fewer: whole vectors are written, and read from any byte on.
constexpr std::uint64_t symbol_room(std::uint64_t num_columns) {
  return num_columns + 2 * kLanes;
}

/// How vectors are loaded that may reach beyond a row's end: of rows that follow each other as they are; of gathered
/// ones, behind which nobody requested a line, so that it is not touched (StoredBytes).
enum class Rows { kInOrder, kGathered };

/// A tier behind the first: what its codes need to be taken apart and looked up, set up once for many rows. Codes that
/// follow each other without gaps are taken apart alike whatever their width is.
class LaterTier {
 public:
  LaterTier() = default;
  LaterTier(const RowLayout& layout, unsigned tier, const Turn& turn)
      : code_bytes_(std::uint64_t{8} * layout.tier_bits[tier]) {
    const Codes codes{layout.tier_bits[tier]};
    from_byte_ = codes.rest_from_byte();
    from_bit_ = codes.rest_from_bit();
    code_mask_ = byte_of(low_mask(codes.width));
    symbol_of_code_ = turn(_mm512_broadcast_i32x4(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier]))));
  }

  /// Stores the symbols of a plane's `count` codes at `dst`, turned, where whole vectors are written. Those of escapes
  /// come, in order, from `next(i)`: what is i bytes behind the first. Returns how many escapes there are.
  template <Rows kRows, class Next>
  __attribute__((always_inline)) std::uint64_t put_symbols(const StoredBytes& row, const std::byte* plane,
                                                           std::uint64_t count, const Next& next,
                                                           std::uint8_t* dst) const {
    std::uint64_t taken = 0;
    for (std::uint64_t i = 0; i < count; i += kLanes, plane += code_bytes_) {
      const __m512i codes = _mm512_and_si512(_mm512_multishift_epi64_epi8(from_bit_, fields<kRows>(row, plane)), code_mask_);
      const __mmask64 found = _mm512_testn_epi8_mask(codes, codes);
      _mm512_storeu_si512(dst + i, _mm512_mask_expand_epi8(_mm512_shuffle_epi8(symbol_of_code_, codes), found, next(taken)));
      taken += count_of(found & lanes_of(count - i));
    }
    return taken;
  }

 private:
  /// Each eight codes from `src` on in the low end of eight bytes.
  template <Rows kRows>
  [[nodiscard]] __attribute__((always_inline)) __m512i fields(const StoredBytes& row, const std::byte* src) const {
    if constexpr (kRows == Rows::kInOrder) return _mm512_permutexvar_epi8(from_byte_, _mm512_loadu_si512(src));
    const std::byte* const from = row.last_from(src);
    const __m512i skipped = byte_of(static_cast<std::uint64_t>(src - from));
    return _mm512_permutexvar_epi8(_mm512_add_epi8(from_byte_, skipped), _mm512_loadu_si512(from));
  }

  std::uint64_t code_bytes_ = 0;  ///< of 64 codes
  __m512i from_byte_ = _mm512_setzero_si512();
  __m512i from_bit_ = _mm512_setzero_si512();
  __m512i code_mask_ = _mm512_setzero_si512();
  __m512i symbol_of_code_ = _mm512_setzero_si512();
};

/// A row whose escapes are being found.
struct OpenRow {
  StoredBytes bytes;
  RowParts parts;
};

/// Finds the symbols of rows' first-tier escapes, turned, in two steps: later ones, and with them the first tier's. A
/// step that returns false found the row malformed.
template <Rows kRows>
class EscapeFinder {
 public:
  EscapeFinder(const RowLayout& layout, const Turn& turn) : layout_(layout), num_tiers_(layout.num_tiers), turn_(turn) {
    if (num_tiers_ > 1) second_ = LaterTier(layout, 1, turn);
    if (num_tiers_ > 2) third_ = LaterTier(layout, 2, turn);
  }

  /// Finds the row's parts, and the symbols of the escapes of the tier before the last. `later` has room for those of
  /// the second tier, `symbols` for those of the first, either of symbol_room.
  __attribute__((always_inline)) bool open(const StoredBytes& bytes, OpenRow& row, std::uint8_t* later,
                                           std::uint8_t* symbols) const {
    row.bytes = bytes;
    if (!find_parts<std::uint8_t>(layout_, bytes.begin, static_cast<std::uint64_t>(bytes.end - bytes.begin), row.parts))
      return false;
    if (num_tiers_ == 1) return take_written_out(row, symbols);
    const RowParts& parts = row.parts;
    const unsigned last = num_tiers_ - 1;
    const std::uint64_t num_written_out = (last == 1 ? second_ : third_)
                                              .template put_symbols<kRows>(
                                                  bytes, parts.codes[last], parts.num_codes[last],
                                                  [&](std::uint64_t i) __attribute__((always_inline)) {
                                                    return turn_(written_out_from(bytes, parts, i));
                                                  },
                                                  last == 1 ? symbols : later);
    return num_written_out <= parts.symbol_bytes;
  }

  /// Finds the symbols of the first tier's escapes.
  __attribute__((always_inline)) bool close(const OpenRow& row, const std::uint8_t* later, std::uint8_t* symbols) const {
    if (num_tiers_ < 3) return true;
    const auto next = [&](std::uint64_t i) __attribute__((always_inline)) {
      __m512i bytes = _mm512_loadu_si512(later + i);  // NOLINT(misc-const-correctness): may be changed below
      __asm__("" : "+v"(bytes));
      return bytes;
    };
    return second_.put_symbols<kRows>(row.bytes, row.parts.codes[1], row.parts.num_codes[1], next, symbols) ==
           row.parts.num_codes[2];
  }

 private:
  /// The symbols that are written out from number `i` on. A malformed row announces more than it has.
  [[nodiscard]] static __attribute__((always_inline)) __m512i written_out_from(const StoredBytes& bytes,
                                                                               const RowParts& parts,
                                                                               std::uint64_t i) {
    const std::byte* const src = parts.symbols + (i < parts.symbol_bytes ? i : parts.symbol_bytes);
    return kRows == Rows::kInOrder ? _mm512_loadu_si512(src) : bytes.load_last(src);
  }

  /// Where there is one tier all of its escapes are written out. How many they are it does not say.
  bool take_written_out(OpenRow& row, std::uint8_t* symbols) const {
    RowParts& parts = row.parts;
    parts.num_codes[1] = count_first_tier(layout_, row.bytes.begin + layout_.fixed_bytes);
    if (parts.num_codes[1] > parts.symbol_bytes) return false;
    for (std::uint64_t i = 0; i < parts.num_codes[1]; i += kLanes)
      _mm512_storeu_si512(symbols + i, turn_(written_out_from(row.bytes, parts, i)));
    return true;
  }

  const RowLayout& layout_;
  unsigned num_tiers_;
  Turn turn_;
  LaterTier second_;
  LaterTier third_;
};
