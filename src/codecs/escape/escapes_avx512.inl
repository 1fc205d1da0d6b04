// The symbols of the first tier's escapes by AVX-512: found for several rows at once, before these are put together.
// Included by kernels_avx512.cpp, behind decode_avx512.inl.

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

/// The codes of a plane from `at` on, of which `count` are left.
inline __m512i codes_at(const Codes& codes, const StoredBytes& row, const std::byte* at, std::uint64_t count) {
  return count >= kBlockCodes ? codes.block(at) : codes.rest(row.load_last(at));
}

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
