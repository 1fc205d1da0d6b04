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

  /// Symbols are found turned.
  void turn(const Turn& turn) { symbol_of_code_ = turn(symbol_of_code_); }

  /// The bytes of `count` codes.
  [[nodiscard]] std::uint64_t plane_bytes(std::uint64_t count) const { return (count * codes_.width + 7) / 8; }

  /// How many of a plane's `count` codes are the escape.
  [[nodiscard]] __attribute__((always_inline)) std::uint64_t count_escapes(const StoredBytes& row,
                                                                           const std::byte* plane, std::uint64_t count,
                                                                           std::uint64_t* of_half_blocks) const {
    if (codes_.width == 2) return zeros_of_two_bits(plane, count, of_half_blocks);
    std::uint64_t num_escapes = 0;
    for (std::uint64_t i = 0; i < count; i += kLanes) {
      const __m512i codes = count - i >= kBlockCodes ? block(plane, i) : rest(row, plane, i);
      num_escapes += count_of(_mm512_mask_testn_epi8_mask(lanes_of(count - i), codes, codes));
    }
    return num_escapes;
  }

  /// Stores the symbols of a plane's `count` codes at `dst`, where whole vectors are written. Those of escapes come, in
  /// order, from `next(i)`: what is i bytes behind the first. Returns how many these are.
  template <class Next, class Change>
  __attribute__((always_inline)) std::uint64_t put_symbols(const StoredBytes& row, const std::byte* plane,
                                                           std::uint64_t count, const std::uint64_t* of_half_blocks,
                                                           const Next& next, const Change& change,
                                                           std::uint8_t* dst) const {
    std::uint64_t taken = 0;
    const auto put = [&](__m512i looked_up, __mmask64 found, std::uint8_t* symbols) __attribute__((always_inline)) {
      _mm512_storeu_si512(symbols, change(_mm512_mask_expand_epi8(looked_up, found, next(taken))));
    };
    std::uint64_t i = 0;
    if (codes_.width == 2 && of_half_blocks != nullptr) {
      for (; i + kBlockCodes <= count; i += kBlockCodes, of_half_blocks += 2) {
        const __m512i codes = Codes::loose_pair(plane + i / 4);
        put(_mm512_permutexvar_epi8(codes, symbol_of_code_), _mm512_testn_epi8_mask(codes, byte_of(3)), dst + i);
        taken += of_half_blocks[0] + of_half_blocks[1];
      }
    } else {
      for (; i + kBlockCodes <= count; i += kBlockCodes) {
        const __m512i codes = block(plane, i);
        const __mmask64 found = _mm512_testn_epi8_mask(codes, codes);
        put(_mm512_shuffle_epi8(symbol_of_code_, codes), found, dst + i);
        taken += count_of(found);
      }
    }
    // Escapes behind the last code take symbols that do not matter.
    const __m512i codes = rest(row, plane, i);
    const __mmask64 found = _mm512_testn_epi8_mask(codes, codes);
    put(_mm512_shuffle_epi8(symbol_of_code_, codes), found, dst + i);
    return taken + count_of(found & lanes_of(count - i));
  }

 private:
  [[nodiscard]] __m512i block(const std::byte* plane, std::uint64_t first) const {
    return codes_.block(plane + first / 8 * codes_.width);
  }

  /// The codes from number `first` on, where no block is left.
  [[nodiscard]] __attribute__((always_inline)) __m512i rest(const StoredBytes& row, const std::byte* plane,
                                                            std::uint64_t first) const {
    const std::byte* const src = plane + first / 8 * codes_.width;
    const std::byte* const from = row.last_from(src);
    const __m512i skipped = byte_of(static_cast<std::uint64_t>(src - from));
    const __m512i bytes = _mm512_permutexvar_epi8(_mm512_add_epi8(from_byte_, skipped), _mm512_loadu_si512(from));
    return codes_.rest_of(_mm512_multishift_epi64_epi8(from_bit_, bytes));
  }

  Codes codes_{1};
  __m512i from_byte_ = _mm512_setzero_si512();
  __m512i from_bit_ = _mm512_setzero_si512();
  __m512i symbol_of_code_ = _mm512_setzero_si512();
};

/// Bytes for the symbols of a row of `num_columns`, or of fewer: whole vectors are written, and read from any byte on.
constexpr std::uint64_t symbol_room(std::uint64_t num_columns) {
  return num_columns + 2 * kLanes;
}

/// Escapes of a row in each 32 columns, or of its second tier in each 32 codes, if these have 2 bits each. Whole
/// vectors are written.
template <std::uint64_t kColumns>
struct EscapeCounts {
  std::uint64_t of_first[kColumns / 32 + 8];
  std::uint64_t of_second[kColumns / 32 + 8];
};

/// Rows of up to so many columns are opened.
constexpr std::uint64_t kGroupColumns = 2048;

/// A row whose escapes are being found.
struct OpenRow {
  StoredBytes bytes;
  const std::byte* src;     ///< what is to be read next
  const std::byte* second;  ///< the codes of the second tier
  std::uint64_t count;      ///< escapes of the first tier
  std::uint64_t num_later;  ///< of the second
  std::uint8_t* symbols;    ///< room for those of the first tier's escapes, in order
  std::uint8_t* later;      ///< of the second's
  std::uint8_t shift;
  alignas(64) EscapeCounts<kGroupColumns> counts;
};

/// Finds the symbols of rows' first-tier escapes, step by step. Each step waits for the one before it, since every
/// plane's place depends on a count; so each is done for other rows before the next. A step that returns false found
/// the row malformed.
class EscapeFinder {
 public:
  EscapeFinder(const RowLayout& layout, const Turn& turn) : layout_(layout), num_tiers_(layout.num_tiers), turn_(turn) {
    if (num_tiers_ > 1) second_ = LaterTier(layout, 1);
    if (num_tiers_ > 2) third_ = LaterTier(layout, 2);
    second_.turn(turn);
  }

  /// Counts the escapes of the first tier.
  __attribute__((always_inline)) bool open(const StoredBytes& bytes, OpenRow& row) const {
    if (static_cast<std::uint64_t>(bytes.end - bytes.begin) < layout_.minimum_row_bytes) return false;
    const std::byte* const codes = bytes.begin + layout_.fixed_bytes;
    row.bytes = bytes;
    row.src = codes + layout_.code_bytes;
    row.count = count_first_tier(layout_, codes, row.counts.of_first);
    row.shift = layout_.row_shifts ? stillbit::load<std::uint8_t>(row.src++) : 0;
    return true;
  }

  /// Counts those of the second tier.
  __attribute__((always_inline)) bool count_later(OpenRow& row) const {
    if (num_tiers_ == 1) return true;
    const std::uint64_t plane_bytes = second_.plane_bytes(row.count);
    if (plane_bytes > left_of(row)) return false;
    row.second = row.src;
    row.src += plane_bytes;
    row.num_later = second_.count_escapes(row.bytes, row.second, row.count, row.counts.of_second);
    return true;
  }

  /// Takes the symbols that the second tier lacks, or the first where it is the only one.
  [[nodiscard]] __attribute__((always_inline)) bool take_later(const OpenRow& row) const {
    const StoredBytes bytes = row.bytes;
    const std::byte* const src = row.src;
    const std::uint64_t left = left_of(row);
    const std::uint64_t count = num_tiers_ == 1 ? row.count : row.num_later;
    std::uint8_t* const dst = num_tiers_ == 1 ? row.symbols : row.later;
    if (num_tiers_ < 3) {
      for (std::uint64_t i = 0; i < count; i += kLanes) _mm512_storeu_si512(dst + i, turn_(bytes.load_last(src + i)));
      return count <= left;
    }
    const std::uint64_t plane_bytes = third_.plane_bytes(count);
    if (plane_bytes > left) return false;
    const auto written_out = [&](std::uint64_t i)
                                 __attribute__((always_inline)) { return bytes.load_last(src + plane_bytes + i); };
    const std::uint64_t num_written_out = third_.put_symbols(bytes, src, count, nullptr, written_out, turn_, dst);
    return num_written_out <= left - plane_bytes;
  }

  /// Takes those of the second tier.
  __attribute__((always_inline)) void take_second(const OpenRow& row) const {
    if (num_tiers_ == 1) return;
    const std::uint8_t* const later = row.later;
    const auto next = [&](std::uint64_t i) __attribute__((always_inline)) {
      __m512i bytes = _mm512_loadu_si512(later + i);  // NOLINT(misc-const-correctness): may be changed below
      __asm__("" : "+v"(bytes));
      return bytes;
    };
    const auto as_is = [](__m512i symbols) __attribute__((always_inline)) { return symbols; };
    second_.put_symbols(row.bytes, row.second, row.count, row.counts.of_second, next, as_is, row.symbols);
  }

 private:
  [[nodiscard]] static std::uint64_t left_of(const OpenRow& row) {
    return static_cast<std::uint64_t>(row.bytes.end - row.src);
  }

  const RowLayout& layout_;
  unsigned num_tiers_;
  Turn turn_;
  LaterTier second_;
  LaterTier third_;
};
