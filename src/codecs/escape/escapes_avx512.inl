// The symbols of the first tier's escapes by AVX-512: found for a row before it is put together. Included by
// kernels_avx512.cpp, behind decode_avx512.inl.

/// Each byte rotated to the left by `count`, below 8: how symbols are *turned* to fit into words, where a symbol lies
/// in two bytes.
class Turn {
 public:
  explicit Turn(unsigned count)
      : left_(_mm512_set1_epi16(static_cast<short>(count))),
        right_(_mm512_set1_epi16(static_cast<short>(8 - count))),
        upper_(byte_of(0xFFU << count)) {}

  [[nodiscard]] __m512i operator()(__m512i bytes) const {
    return selected(upper_, _mm512_sllv_epi16(bytes, left_), _mm512_srlv_epi16(bytes, right_));
  }

 private:
  __m512i left_;
  __m512i right_;
  __m512i upper_;
};

/// Bytes for the symbols of a row of `num_columns`, or of fewer: whole vectors are written, and read from any byte on.
constexpr std::uint64_t symbol_room(std::uint64_t num_columns) {
  return num_columns + 2 * kLanes;
}

/// How vectors are loaded that may reach beyond a row's end: of rows that follow each other as they are; of gathered
/// ones, behind which nobody requested a line, so that it is not touched (StoredBytes).
enum class Rows { kInOrder, kGathered };

/// As many tiers as trained weights mostly get: known to the compiler.
struct UsualTiers {
  const RowLayout& layout;

  [[nodiscard]] static constexpr unsigned count() { return 3; }
  [[nodiscard]] unsigned bits(unsigned tier) const { return layout.tier_bits[tier]; }
};

/// A tier behind the first: what its codes need to be taken apart and looked up, set up once for many rows. Codes that
/// follow each other without gaps are taken apart alike whatever their width is.
class LaterTier {
 public:
  LaterTier() = default;
  LaterTier(const RowLayout& layout, unsigned tier, const Turn& turn) {
    const Codes codes{layout.tier_bits[tier]};
    from_byte_ = codes.rest_from_byte();
    from_bit_ = codes.rest_from_bit();
    code_mask_ = byte_of(low_mask(codes.width));
    symbol_of_code_ =
        turn(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier]))));
  }

  /// Stores the symbols of `count` codes of `width` bits at `dst`, turned, where whole vectors are written. Those of
  /// escapes come, in order, from `next(i)`: what is i bytes behind the first. Returns how many escapes there are.
  template <Rows kRows, class Next>
  __attribute__((always_inline)) std::uint64_t put_symbols(const StoredBytes& row, const std::byte* plane,
                                                           unsigned width, std::uint64_t count, const Next& next,
                                                           std::uint8_t* dst) const {
    std::uint64_t taken = 0;
    for (std::uint64_t i = 0; i < count; i += kLanes, plane += 8 * width) {
      const __m512i bits = _mm512_multishift_epi64_epi8(from_bit_, fields<kRows>(row, plane));
      const __m512i codes = _mm512_and_si512(bits, code_mask_);
      const __mmask64 found = _mm512_testn_epi8_mask(codes, codes);
      const __m512i symbols = _mm512_shuffle_epi8(symbol_of_code_, codes);
      _mm512_storeu_si512(dst + i, _mm512_mask_expand_epi8(symbols, found, next(taken)));
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

  __m512i from_byte_ = _mm512_setzero_si512();
  __m512i from_bit_ = _mm512_setzero_si512();
  __m512i code_mask_ = _mm512_setzero_si512();
  __m512i symbol_of_code_ = _mm512_setzero_si512();
};

/// A row whose escapes are being found. A vector that is loaded from a place where others were stored a moment ago, but
/// at another one, waits for all stores before them: the steps of a row are not done one right behind the other.
struct OpenRow {
  StoredBytes bytes;
  RowParts parts;
  std::uint8_t* later;    ///< room for the symbols of the second tier's escapes
  std::uint8_t* symbols;  ///< of the first's
};

/// Finds the symbols of rows' first-tier escapes, turned, in two steps: later ones, and with them the first tier's. A
/// step that returns false found the row malformed.
template <class Tiers, Rows kRows>
class EscapeFinder {
 public:
  EscapeFinder(const RowLayout& layout, const Turn& turn) : layout_(layout), tiers_{layout}, turn_(turn) {
    if (tiers_.count() > 1) second_ = LaterTier(layout, 1, turn);
    if (tiers_.count() > 2) third_ = LaterTier(layout, 2, turn);
  }

  /// Finds the row's parts, and the symbols of the last tier but one.
  __attribute__((always_inline)) bool open(const StoredRow& stored, OpenRow& row) const {
    if (stored.is_raw) return false;
    row.bytes = {stored.data, stored.data + stored.num_bytes};
    RowParts parts;
    if (!find_parts<std::uint8_t>(layout_, tiers_, stored.data, stored.num_bytes, parts)) return false;
    std::uint64_t num_written_out = 0;
    switch (tiers_.count()) {
      case 1:
        // All of its escapes are written out. How many they are it does not say.
        num_written_out = count_first_tier(layout_, stored.data + layout_.fixed_bytes);
        parts.num_codes[1] = num_written_out;
        if (num_written_out > parts.symbol_bytes) return false;
        for (std::uint64_t i = 0; i < num_written_out; i += kLanes)
          _mm512_storeu_si512(row.symbols + i, written_out_from(row.bytes, parts, i));
        break;
      case 2:
        num_written_out = put_last<1>(row.bytes, parts, second_, row.symbols);
        break;
      default:
        num_written_out = put_last<2>(row.bytes, parts, third_, row.later);
    }
    row.parts = parts;
    return num_written_out <= parts.symbol_bytes;
  }

  /// Finds the symbols of the first tier's escapes.
  [[nodiscard]] __attribute__((always_inline)) bool close(const OpenRow& row) const {
    if (tiers_.count() < 3) return true;
    const std::uint8_t* const later = row.later;
    const auto next = [&](std::uint64_t i) __attribute__((always_inline)) {
      __m512i bytes = _mm512_loadu_si512(later + i);  // NOLINT(misc-const-correctness): may be changed below
      __asm__("" : "+v"(bytes));
      return bytes;
    };
    const std::uint64_t num_later = second_.put_symbols<kRows>(row.bytes, row.parts.codes[1], tiers_.bits(1),
                                                               row.parts.num_codes[1], next, row.symbols);
    return num_later == row.parts.num_codes[2];
  }

 private:
  /// The symbols of the last tier, `kTier`. Returns how many are written out.
  template <unsigned kTier>
  __attribute__((always_inline)) std::uint64_t put_last(const StoredBytes& bytes, const RowParts& parts,
                                                        const LaterTier& tier, std::uint8_t* dst) const {
    const auto next = [&](std::uint64_t i) __attribute__((always_inline)) { return written_out_from(bytes, parts, i); };
    return tier.put_symbols<kRows>(bytes, parts.codes[kTier], tiers_.bits(kTier), parts.num_codes[kTier], next, dst);
  }

  /// The symbols that are written out from number `i` on. A malformed row announces more than it has.
  [[nodiscard]] __attribute__((always_inline)) __m512i written_out_from(const StoredBytes& bytes, const RowParts& parts,
                                                                        std::uint64_t i) const {
    const std::byte* const src = parts.symbols + (i < parts.symbol_bytes ? i : parts.symbol_bytes);
    return turn_(kRows == Rows::kInOrder ? _mm512_loadu_si512(src) : bytes.load_last(src));
  }

  const RowLayout& layout_;
  Tiers tiers_;
  Turn turn_;
  LaterTier second_;
  LaterTier third_;
};
