// Stages of decoding by AVX-512, for words of up to 4 bytes: 64 symbols at a time. Included by kernels_avx512.cpp.

/// Takes codes apart.
struct Codes {
  unsigned width;

  [[nodiscard]] __m512i pair(const std::byte* src) const { return _mm512_and_si512(loose_pair(src), byte_of(3)); }

  /// The codes of a block of 2 bits each, with other bits above them.
  [[nodiscard]] static __m512i loose_pair(const std::byte* src) {
    const __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i pairs = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
    return _mm512_srlv_epi64(pairs, places);
  }

  /// The codes of a block.
  [[nodiscard]] __m512i block(const std::byte* src) const {
    switch (width) {
      case 1:
        return _mm512_maskz_mov_epi8(stillbit::load<std::uint64_t>(src), byte_of(1));
      case 2:
        return pair(src);
      case 3: {
        const __m512i low = pair(src);
        return _mm512_mask_add_epi8(low, stillbit::load<std::uint64_t>(src + 16), low, byte_of(4));
      }
      default:
        return _mm512_or_si512(pair(src), _mm512_slli_epi16(pair(src + 16), 2));
    }
  }

  /// Codes that follow each other without gaps, up to 64 of them: eight lie in `width` bytes, of which each group of 8
  /// lanes takes its own.
  [[nodiscard]] __m512i rest(const std::byte* src) const {
    return rest(_mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src))));
  }
  [[nodiscard]] __m512i rest(__m512i bytes) const {
    return rest_of(_mm512_multishift_epi64_epi8(rest_from_bit(), _mm512_permutexvar_epi8(rest_from_byte(), bytes)));
  }
  /// Where a code's group of 8 lanes takes its bytes from, where the lane its bits, and what of these is the code.
  [[nodiscard]] __m512i rest_from_byte() const {
    const __m512i group =
        _mm512_set_epi64(0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
                         0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    return _mm512_add_epi8(_mm512_mullo_epi16(group, scale()), lane_in_group());
  }
  [[nodiscard]] __m512i rest_from_bit() const { return _mm512_mullo_epi16(lane_in_group(), scale()); }
  [[nodiscard]] __m512i rest_of(__m512i bits) const { return _mm512_and_si512(bits, byte_of(low_mask(width))); }

 private:
  [[nodiscard]] static __m512i lane_in_group() { return _mm512_set1_epi64(0x0706050403020100); }
  [[nodiscard]] __m512i scale() const { return _mm512_set1_epi16(static_cast<short>(width)); }
};

/// A table for lookups by bytes' low four bits. Where codes have two, it may also be looked up by low six, of which the
/// upper four do not matter.
inline __m512i symbols_of_codes(const RowLayout& layout, unsigned tier) {
  const __m128i symbols = _mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier]));
  return layout.tier_bits[tier] == 2 ? _mm512_broadcastd_epi32(symbols) : _mm512_broadcast_i32x4(symbols);
}

inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* src, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes) {
  const Codes codes{layout.tier_bits[tier]};
  const __m512i symbol_of_code = symbols_of_codes(layout, tier);
  std::uint64_t num_escapes = 0;
  const auto look_up = [&](std::uint64_t first, __m512i code) -> __mmask64 {
    _mm512_storeu_si512(symbols + first, _mm512_shuffle_epi8(symbol_of_code, code));
    return _mm512_testn_epi8_mask(code, code);
  };
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, src += 8 * codes.width) {
    const __mmask64 found = look_up(first, codes.block(src));
    *escapes++ = found;
    num_escapes += count_of(found);
  }
  if (first < count) {
    const __mmask64 found = look_up(first, codes.rest(src)) & lanes_of(count - first);
    *escapes = found;
    num_escapes += count_of(found);
  }
  return num_escapes;
}

/// How many of `count` codes of 2 bits from `src` on are 0. They need not be taken apart for that: blocks of them and
/// what is behind have four codes a byte.
/// Unless it is null, `of_half_blocks` gets the number of each 32 codes, in whole vectors.
inline std::uint64_t zeros_of_two_bits(const std::byte* src, std::uint64_t count, std::uint64_t* of_half_blocks) {
  const auto zeros = [](__m512i codes) {
    constexpr int kThirdButNotFirstOrSecond = 0x02;
    return _mm512_ternarylogic_epi64(codes, _mm512_srli_epi64(codes, 1), byte_of(0x55), kThirdButNotFirstOrSecond);
  };
  std::uint64_t num_bytes = count / 4;
  const std::byte* const last = src + num_bytes;
  __m512i sums = _mm512_setzero_si512();
  const auto add = [&](__m512i found) {
    const __m512i counts = _mm512_popcnt_epi64(found);
    if (of_half_blocks != nullptr) {
      _mm512_storeu_si512(of_half_blocks, counts);
      of_half_blocks += 8;
    }
    sums = _mm512_add_epi64(sums, counts);
  };
  for (; num_bytes > 64; num_bytes -= 64, src += 64) add(zeros(_mm512_loadu_si512(src)));
  const __mmask64 bytes = lanes_of(num_bytes);
  const __m512i behind = zeros(_mm512_maskz_loadu_epi8(bytes, src));
  add(_mm512_maskz_mov_epi8(bytes, behind));
  auto num_zeros = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums));
  // A last byte of fewer codes. No branch: how many they are is not to be foreseen.
  const std::uint64_t left = count % 4;
  const unsigned codes = stillbit::load<std::uint8_t>(last - (left == 0));
  const auto zeros_behind = ~(codes | codes >> 1) & 0x55U & ((1U << (2 * left)) - 1);
  return num_zeros + static_cast<unsigned>(__builtin_popcount(zeros_behind));
}

/// The number of the first tier's escapes; where codes have 2 bits, also of those in each 32 columns.
inline std::uint64_t count_first_tier(const RowLayout& layout, const std::byte* src, std::uint64_t* of_half_blocks) {
  const Codes codes{layout.tier_bits[0]};
  std::uint64_t left = layout.num_columns;
  if (codes.width == 2) return zeros_of_two_bits(src, left, of_half_blocks);
  std::uint64_t num_escapes = 0;
  for (; left >= kBlockCodes; left -= kBlockCodes, src += 8 * codes.width) {
    const __m512i code = codes.block(src);
    num_escapes += count_of(_mm512_testn_epi8_mask(code, code));
  }
  if (left > 0) {
    const __m512i code = codes.rest(src);
    num_escapes += count_of(_mm512_mask_testn_epi8_mask(lanes_of(left), code, code));
  }
  return num_escapes;
}

/// Only counts: `put_row` takes the codes apart again, which costs less than to store and load what they stand for.
inline std::uint64_t begin_first_tier(const RowLayout& layout, const std::byte* src, std::uint8_t*, std::uint64_t*) {
  return count_first_tier(layout, src, nullptr);
}

/// Puts the bytes at `next`, in order, into the lanes that were found. The load is kept apart from the expansion: as
/// one instruction they take several times as long (AMD Zen 4).
inline __m512i expand(__m512i symbols, __mmask64 found, const std::uint8_t* next) {
  __m512i bytes = _mm512_loadu_si512(next);  // NOLINT(misc-const-correctness): may be changed below
  __asm__("" : "+v"(bytes));
  return _mm512_mask_expand_epi8(symbols, found, bytes);
}

inline void fill_escapes(const std::uint64_t* escapes, std::uint64_t count, const std::uint8_t* next,
                         std::uint8_t* symbols) {
  for (std::uint64_t first = 0; first < count; first += kLanes) {
    const __mmask64 found = *escapes++;
    _mm512_storeu_si512(symbols + first, expand(_mm512_loadu_si512(symbols + first), found, next));
    next += count_of(found);
  }
}
