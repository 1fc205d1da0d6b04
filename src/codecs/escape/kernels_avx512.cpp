#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <immintrin.h>

// Compiled for AVX-512 with byte permutations (VBMI, VBMI2); reached only on machines that have them. The stages for
// words of up to 4 bytes work on 64 symbols at a time; those of stages.inl serve the rest.

namespace stillbit::escape::avx512 {
namespace {

#include "fields/writer.inl"

#include "fields/plane_bmi2.inl"

#include "codecs/escape/stages.inl"

#include "codecs/escape/fields_bmi2.inl"

constexpr std::uint64_t kLanes = 64;

/// The lanes that `left` symbols fill, 64 at most.
inline __mmask64 lanes_of(std::uint64_t left) {
  return left >= kLanes ? ~std::uint64_t{0} : low_mask(static_cast<unsigned>(left));
}

inline std::uint64_t count_of(__mmask64 lanes) {
  return static_cast<unsigned>(__builtin_popcountll(lanes));
}

inline __m512i byte_of(std::uint64_t value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

/// A table of 256 bytes, for symbols of 8 bits.
struct Table {
  __m512i part[4];

  explicit Table(const std::uint8_t* entries) {
    for (unsigned i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(entries + 64 * i);
  }
  [[nodiscard]] __m512i operator()(__m512i symbols) const {
    const __m512i low = _mm512_permutex2var_epi8(part[0], symbols, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], symbols, part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(symbols), low, high);
  }
};

/// Stands for a mask of all lanes.
struct AllLanes {};

/// Word lanes: what differs between words of 1, 2 and 4 bytes.
template <class Word>
struct Lanes;

template <>
struct Lanes<std::uint8_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) { return _mm512_maskz_loadu_epi8(lanes, src); }
  static void store_some(std::byte* dst, __mmask64 lanes, __m512i words) { _mm512_mask_storeu_epi8(dst, lanes, words); }
  static __m512i set(std::uint64_t value) { return byte_of(value); }
  // Bits that cross into the next byte are masked by the caller, or are none.
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi16(words, count); }
  static __m512i widen(__m512i symbols, unsigned) { return symbols; }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m128i count, __m512i mask) {
    _mm512_storeu_si512(dst, _mm512_and_si512(_mm512_srl_epi16(words, count), mask));
  }
};

template <>
struct Lanes<std::uint16_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes), src);
  }
  static void store_some(std::byte* dst, __mmask64 lanes, __m512i words) {
    _mm512_mask_storeu_epi16(dst, static_cast<__mmask32>(lanes), words);
  }
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi16(words, count); }
  static __m512i shift_right(__m512i words, __m128i count) { return _mm512_srl_epi16(words, count); }
  static __m512i widen(__m512i symbols, unsigned part) {
    return _mm512_cvtepu8_epi16(part == 0 ? _mm512_castsi512_si256(symbols) : _mm512_extracti64x4_epi64(symbols, 1));
  }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m128i count, __m512i mask) {
    const __m256i symbols = _mm512_cvtepi16_epi8(_mm512_srl_epi16(words, count));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_and_si256(symbols, _mm512_castsi512_si256(mask)));
  }
};

template <>
struct Lanes<std::uint32_t> {
  static __m512i load(const std::byte* src, AllLanes) { return _mm512_loadu_si512(src); }
  static __m512i load(const std::byte* src, __mmask64 lanes) {
    return _mm512_maskz_loadu_epi32(static_cast<__mmask16>(lanes), src);
  }
  static void store_some(std::byte* dst, __mmask64 lanes, __m512i words) {
    _mm512_mask_storeu_epi32(dst, static_cast<__mmask16>(lanes), words);
  }
  static __m512i set(std::uint64_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static __m512i shift_left(__m512i words, __m128i count) { return _mm512_sll_epi32(words, count); }
  static __m512i shift_right(__m512i words, __m128i count) { return _mm512_srl_epi32(words, count); }
  static __m512i widen(__m512i symbols, unsigned part) {
    switch (part) {
      case 0:
        return _mm512_cvtepu8_epi32(_mm512_castsi512_si128(symbols));
      case 1:
        return _mm512_cvtepu8_epi32(_mm512_extracti64x2_epi64(symbols, 1));
      case 2:
        return _mm512_cvtepu8_epi32(_mm512_extracti64x2_epi64(symbols, 2));
      default:
        return _mm512_cvtepu8_epi32(_mm512_extracti64x2_epi64(symbols, 3));
    }
  }
  static void store_symbols(std::uint8_t* dst, __m512i words, __m128i count, __m512i mask) {
    const __m128i symbols = _mm512_cvtepi32_epi8(_mm512_srl_epi32(words, count));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm_and_si128(symbols, _mm512_castsi512_si128(mask)));
  }
};

inline __m128i shift_count(unsigned count) {
  return _mm_cvtsi32_si128(static_cast<int>(count));
}

/// Calls `body(part, offset, lanes)` for each vector of words that 64 symbols from `first` on belong to. `lanes` is
/// known to be all where there are so many: masked stores are slow.
template <class Word, class Body>
inline __attribute__((always_inline)) void for_each_vector(std::uint64_t first, std::uint64_t num_columns, Body body) {
  constexpr unsigned kWords = 64 / sizeof(Word);
  const std::uint64_t left = num_columns - first;
  if (left >= kLanes) {
#pragma GCC unroll 4
    for (unsigned part = 0; part < sizeof(Word); ++part) body(part, (first + part * kWords) * sizeof(Word), AllLanes());
    return;
  }
  for (unsigned part = 0; part * kWords < left; ++part) {
    const std::uint64_t here = left - part * kWords;
    body(part, (first + part * kWords) * sizeof(Word), lanes_of(here < kWords ? here : kWords));
  }
}

template <class Word>
inline bool split_symbols_wide(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  const __m512i mask = byte_of(layout.shape.symbol_mask);
  const __m128i symbol_at = shift_count(layout.shape.symbol_at);
  __m512i all = _mm512_setzero_si512();
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    for_each_vector<Word>(first, layout.num_columns, [&](unsigned part, std::uint64_t offset, auto lanes) {
      const __m512i words = Lanes<Word>::load(row + offset, lanes);
      all = _mm512_or_si512(all, words);
      Lanes<Word>::store_symbols(symbols + first + part * (64 / sizeof(Word)), words, symbol_at, mask);
    });
  }
  const __m512i forbidden = Lanes<Word>::set(layout.shape.forbidden);
  return _mm512_test_epi64_mask(all, forbidden) == 0;
}

template <>
inline bool split_symbols<std::uint8_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint8_t>(layout, row, symbols);
}
template <>
inline bool split_symbols<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint16_t>(layout, row, symbols);
}
template <>
inline bool split_symbols<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::uint8_t* symbols) {
  return split_symbols_wide<std::uint32_t>(layout, row, symbols);
}

inline void count_beyond(const RowLayout& layout, const std::uint8_t* symbols, std::uint64_t shift,
                         std::uint64_t* num_beyond) {
  const Table tier_of(layout.tier_of_symbol);
  const __m512i mask = byte_of(layout.shape.symbol_mask);
  const __m512i by = byte_of(shift);
  const __m512i one = byte_of(1);
  const __m512i two = byte_of(2);
  std::uint64_t beyond_first = 0;
  std::uint64_t beyond_second = 0;
  std::uint64_t beyond_third = 0;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    const __mmask64 lanes = lanes_of(layout.num_columns - first);
    const __m512i shifted = _mm512_and_si512(_mm512_sub_epi8(_mm512_loadu_si512(symbols + first), by), mask);
    const __m512i tier = tier_of(shifted);
    beyond_first += count_of(_mm512_mask_test_epi8_mask(lanes, tier, tier));
    beyond_second += count_of(_mm512_mask_cmpgt_epu8_mask(lanes, tier, one));
    beyond_third += count_of(_mm512_mask_cmpgt_epu8_mask(lanes, tier, two));
  }
  num_beyond[0] = beyond_first;
  num_beyond[1] = beyond_second;
  num_beyond[2] = beyond_third;
}

/// Fields of whole bytes: each word's field is brought to its low end, and the bytes above it are left out.
template <class Word>
inline void pack_whole_bytes(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const WordShape& shape = layout.shape;
  const __m512i rest_mask = Lanes<Word>::set(shape.rest_mask);
  const __m512i sign_mask = Lanes<Word>::set(shape.sign_mask >> shape.sign_shift);
  const __m128i dropped_bits = shift_count(shape.dropped_bits);
  const __m128i sign_shift = shift_count(shape.sign_shift);
  const std::uint64_t field_bytes = shape.fixed_bits / 8;
  constexpr std::uint64_t kEachWord = ~std::uint64_t{0} / low_mask(sizeof(Word));
  const __mmask64 kept = low_mask(static_cast<unsigned>(field_bytes)) * kEachWord;
  for (std::uint64_t first = 0; first < layout.num_columns; first += kLanes) {
    for_each_vector<Word>(first, layout.num_columns, [&](unsigned, std::uint64_t offset, auto lanes) {
      const __m512i words = Lanes<Word>::load(row + offset, lanes);
      const __m512i rest = _mm512_and_si512(Lanes<Word>::shift_right(words, dropped_bits), rest_mask);
      const __m512i sign = _mm512_and_si512(Lanes<Word>::shift_right(words, sign_shift), sign_mask);
      _mm512_storeu_si512(dst, _mm512_maskz_compress_epi8(kept, _mm512_or_si512(rest, sign)));
      dst += 64 / sizeof(Word) * field_bytes;
    });
  }
}

template <>
inline void pack_fields<std::uint16_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  if (layout.shape.fixed_bits % 8 == 0) return pack_whole_bytes<std::uint16_t>(layout, row, dst);
  extract_fields<std::uint16_t>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
}
template <>
inline void pack_fields<std::uint32_t>(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  if (layout.shape.fixed_bits % 8 == 0) return pack_whole_bytes<std::uint32_t>(layout, row, dst);
  extract_fields<std::uint32_t>(row, layout.num_columns, field_place(layout.shape), layout.shape.fixed_bits, dst);
}

/// Writes a block of 64 codes.
inline void store_block(std::byte* block, __m512i codes, unsigned width) {
  const __m512i two_bits = byte_of(3);
  const __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
  for (unsigned bit = 0; bit + 2 <= width; bit += 2, block += 16) {
    const __m512i pair = _mm512_and_si512(_mm512_srl_epi16(codes, shift_count(bit)), two_bits);
    const __m512i placed = _mm512_sllv_epi64(pair, places);
    const __m256i halves = _mm256_or_si256(_mm512_castsi512_si256(placed), _mm512_extracti64x4_epi64(placed, 1));
    const __m128i joined = _mm_or_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(block), joined);
  }
  if (width % 2 != 0)
    stillbit::store(block, static_cast<std::uint64_t>(_mm512_test_epi8_mask(codes, byte_of(1U << (width - 1)))));
}

inline std::uint64_t encode_tier(const RowLayout& layout, unsigned tier, const std::uint8_t* symbols,
                                 std::uint64_t count, std::byte* codes, std::uint8_t* beyond) {
  const Table code_of(layout.code_of_symbol[tier]);
  const unsigned width = layout.tier_bits[tier];
  std::uint8_t* next = beyond;
  std::uint64_t first = 0;
  for (; first + kBlockCodes <= count; first += kBlockCodes, codes += 8 * width) {
    const __m512i symbol = _mm512_loadu_si512(symbols + first);
    const __m512i code = code_of(symbol);
    const __mmask64 escapes = _mm512_testn_epi8_mask(code, code);
    _mm512_storeu_si512(next, _mm512_maskz_compress_epi8(escapes, symbol));
    next += count_of(escapes);
    store_block(codes, code, width);
  }
  const auto num_beyond = static_cast<std::uint64_t>(next - beyond);
  return num_beyond + encode_tier<std::uint8_t>(layout, tier, symbols + first, count - first, codes, next);
}

/// Takes codes apart.
struct Codes {
  unsigned width;
  __m512i two_bits = byte_of(3);
  __m512i places = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);

  [[nodiscard]] __m512i pair(const std::byte* src) const {
    const __m512i pairs = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
    return _mm512_and_si512(_mm512_srlv_epi64(pairs, places), two_bits);
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
    const __m512i group =
        _mm512_set_epi64(0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
                         0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m512i lane = _mm512_set1_epi64(0x0706050403020100);
    const __m512i scale = _mm512_set1_epi16(static_cast<short>(width));
    const __m512i from_byte = _mm512_add_epi8(_mm512_mullo_epi16(group, scale), lane);
    const __m512i groups = _mm512_permutexvar_epi8(from_byte, _mm512_loadu_si512(src));
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(_mm512_mullo_epi16(lane, scale), groups),
                            byte_of(low_mask(width)));
  }
};

inline __m512i symbols_of_codes(const RowLayout& layout, unsigned tier) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.low_byte_of_code[tier])));
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

/// Only counts: `end_first_tier` takes the codes apart again, which costs less than to store and load what they stand
/// for. The commonest width, 2 bits, is counted without taking anything apart.
inline std::uint64_t begin_first_tier(const RowLayout& layout, const std::byte* src, std::uint8_t*, std::uint64_t*) {
  const Codes codes{layout.tier_bits[0]};
  std::uint64_t left = layout.num_columns;
  std::uint64_t num_escapes = 0;
  if (codes.width == 2) {
    constexpr unsigned kCodes = 256;
    const __m512i low_bits = byte_of(0x55);
    __m512i sums = _mm512_setzero_si512();
    for (; left >= kCodes; left -= kCodes, src += 64) {
      const __m512i two_bits = _mm512_loadu_si512(src);
      constexpr int kThirdButNotFirstOrSecond = 0x02;
      const __m512i zeros =
          _mm512_ternarylogic_epi64(two_bits, _mm512_srli_epi64(two_bits, 1), low_bits, kThirdButNotFirstOrSecond);
      sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(zeros));
    }
    num_escapes = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums));
  }
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

/// What a row of this layout needs of `join_words`.
enum class Join { kByteFields, kSignInPlace, kAny };

/// Writes words; whole vectors past the caches where that is wanted, at addresses that are multiples of 64 then.
template <class Word, bool kPastCaches>
inline void store_words(std::byte* dst, AllLanes, __m512i words) {
  if constexpr (kPastCaches) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst), words);
  } else {
    _mm512_storeu_si512(dst, words);
  }
}
template <class Word, bool kPastCaches>
inline void store_words(std::byte* dst, __mmask64 lanes, __m512i words) {
  Lanes<Word>::store_some(dst, lanes, words);
}

template <class Word, bool kPastCaches, Join kJoin, bool kHasShifts, unsigned kWidth>
inline void join_words(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift, const std::uint8_t* next,
                       std::byte* dst) {
  const fields::FieldUnpacking& unpacking = layout.unpacking;
  const __m512i symbol_of_code = symbols_of_codes(layout, 0);
  const Codes codes{kWidth};
  const __m512i from_byte = _mm512_loadu_si512(unpacking.from_byte);
  const __m512i from_bit = _mm512_loadu_si512(unpacking.from_bit);
  const __m512i fixed_mask = Lanes<Word>::set(layout.unpacked_mask);
  const __m512i sign_mask = Lanes<Word>::set(layout.shape.sign_mask);
  const __m128i symbol_at = shift_count(layout.shape.symbol_at);
  const __m128i sign_shift = shift_count(layout.shape.symbol_bits);
  const __m512i symbol_mask = byte_of(layout.shape.symbol_mask);
  const __m512i row_shift = byte_of(shift);
  const std::uint64_t plane_bytes = unpacking.plane_bytes;
  const std::byte* column_shifts = layout.column_shifts;
  const std::uint64_t num_columns = layout.num_columns;
  const std::byte* src = fixed + layout.fixed_bytes;
  for (std::uint64_t first = 0; first < num_columns; first += kLanes, src += 8 * codes.width) {
    const __m512i code = num_columns - first >= kBlockCodes ? codes.block(src) : codes.rest(src);
    // Escapes behind the last column take symbols that do not matter.
    const __mmask64 found = _mm512_testn_epi8_mask(code, code);
    __m512i symbol = expand(_mm512_shuffle_epi8(symbol_of_code, code), found, next);
    next += count_of(found);
    if constexpr (kHasShifts) {
      symbol = _mm512_add_epi8(symbol, row_shift);
      if (column_shifts != nullptr) symbol = _mm512_add_epi8(symbol, _mm512_loadu_si512(column_shifts + first));
    }
    symbol = _mm512_and_si512(symbol, symbol_mask);
    for_each_vector<Word>(first, num_columns, [&](unsigned part, std::uint64_t offset, auto lanes) {
      __m512i field = _mm512_permutexvar_epi8(from_byte, _mm512_loadu_si512(fixed));  // NOLINT(misc-const-correctness)
      if constexpr (kJoin != Join::kByteFields) field = _mm512_multishift_epi64_epi8(from_bit, field);
      fixed += plane_bytes;
      const __m512i placed = Lanes<Word>::shift_left(Lanes<Word>::widen(symbol, part), symbol_at);
      constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
      // NOLINTNEXTLINE(misc-const-correctness): changed below, where kJoin says so
      __m512i word = _mm512_ternarylogic_epi64(field, fixed_mask, placed, kFirstUnderSecondOrThird);
      if constexpr (kJoin == Join::kAny) {
        const __m512i sign = Lanes<Word>::shift_left(field, sign_shift);
        word = _mm512_ternarylogic_epi64(sign, sign_mask, word, kFirstUnderSecondOrThird);
      }
      store_words<Word, kPastCaches>(dst + offset, lanes, word);
    });
  }
}

template <class Word, bool kPastCaches, Join kJoin, bool kHasShifts>
inline void join_words(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift, const std::uint8_t* next,
                       std::byte* dst) {
  using JoinWords = void(const RowLayout&, const std::byte*, std::uint8_t, const std::uint8_t*, std::byte*);
  constexpr JoinWords* kOfWidth[] = {
      join_words<Word, kPastCaches, kJoin, kHasShifts, 1>, join_words<Word, kPastCaches, kJoin, kHasShifts, 2>,
      join_words<Word, kPastCaches, kJoin, kHasShifts, 3>, join_words<Word, kPastCaches, kJoin, kHasShifts, 4>};
  kOfWidth[layout.tier_bits[0] - 1](layout, fixed, shift, next, dst);
}

template <class Word, bool kPastCaches, Join kJoin>
inline void join_words(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift, const std::uint8_t* next,
                       std::byte* dst) {
  const bool has_shifts = shift != 0 || layout.column_shifts != nullptr;
  has_shifts ? join_words<Word, kPastCaches, kJoin, true>(layout, fixed, shift, next, dst)
             : join_words<Word, kPastCaches, kJoin, false>(layout, fixed, shift, next, dst);
}

template <class Word, bool kPastCaches>
inline void join_words(const RowLayout& layout, const std::byte* fixed, std::uint8_t shift, const std::uint8_t* next,
                       std::byte* dst) {
  if (kPastCaches && reinterpret_cast<std::uintptr_t>(dst) % 64 != 0)
    return join_words<Word, false>(layout, fixed, shift, next, dst);
  if (!layout.unpacks_sign) return join_words<Word, kPastCaches, Join::kAny>(layout, fixed, shift, next, dst);
  if (!layout.unpacking.is_whole_bytes)
    return join_words<Word, kPastCaches, Join::kSignInPlace>(layout, fixed, shift, next, dst);
  join_words<Word, kPastCaches, Join::kByteFields>(layout, fixed, shift, next, dst);
}

template <class Word, bool kPastCaches>
inline void put_row(const RowLayout& layout, const std::byte* fixed, SymbolOf<Word> shift, SymbolOf<Word>* symbols,
                    const std::uint64_t* escapes, const SymbolOf<Word>* next, std::byte* dst) {
  if constexpr (sizeof(Word) <= 4) {
    join_words<Word, kPastCaches>(layout, fixed, shift, next, dst);
  } else {
    end_first_tier<Word>(layout, fixed, shift, symbols, escapes, next, dst);
  }
}

constexpr bool kCanPassCaches = true;
inline void finish_stores() {
  _mm_sfence();
}

#include "codecs/escape/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::escape::avx512
