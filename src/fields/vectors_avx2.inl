// How rows are loaded and stored in whole vectors, by AVX2. Included inside a namespace.

inline __m256i load_vector(const void* src) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(src));
}

inline void store_vector(void* dst, __m256i bytes) {
  _mm256_storeu_si256(static_cast<__m256i*>(dst), bytes);
}

/// 16 bytes from each of two places.
inline __m256i load_halves(const void* low, const void* high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(low))),
                                 _mm_loadu_si128(static_cast<const __m128i*>(high)), 1);
}

inline __m128i shift_count(unsigned count) {
  return _mm_cvtsi32_si128(static_cast<int>(count));
}

/// Vectors of words of 2 and 4 bytes. `rotate_right` moves each word's lowest bit to its top.
template <class Word>
struct Words;

template <>
struct Words<std::uint16_t> {
  static __m256i set(std::uint64_t value) { return _mm256_set1_epi16(static_cast<short>(value)); }
  static __m256i add(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
  static __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi16(a, b); }
  static __m256i shift_left(__m256i words, __m128i count) { return _mm256_sll_epi16(words, count); }
  static __m256i shift_right(__m256i words, __m128i count) { return _mm256_srl_epi16(words, count); }
  static __m256i rotate_right(__m256i words) {
    return _mm256_or_si256(_mm256_srli_epi16(words, 1), _mm256_slli_epi16(words, 15));
  }
};

template <>
struct Words<std::uint32_t> {
  static __m256i set(std::uint64_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
  static __m256i add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
  static __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(a, b); }
  static __m256i shift_left(__m256i words, __m128i count) { return _mm256_sll_epi32(words, count); }
  static __m256i shift_right(__m256i words, __m128i count) { return _mm256_srl_epi32(words, count); }
  static __m256i rotate_right(__m256i words) {
    return _mm256_or_si256(_mm256_srli_epi32(words, 1), _mm256_slli_epi32(words, 31));
  }
};

/// Where rows can be written past the caches: memory from numpy or `new` begins 16 bytes behind a line.
constexpr std::uintptr_t kStreamedBytes = 16;

template <std::uintptr_t kAlignment = kStreamedBytes>
inline bool can_pass_caches(const std::byte* dst) {
  static_assert(kAlignment % kStreamedBytes == 0);
  return reinterpret_cast<std::uintptr_t>(dst) % kAlignment == 0;
}

/// Writes a vector; past the caches where that is wanted, of which `can_pass_caches` must hold then. Where it does not
/// begin with a multiple of its size, by halves: lines are put together from these, too.
template <bool kPastCaches>
inline void put_vector(std::byte* dst, __m256i bytes) {
  if constexpr (kPastCaches) {
    if (reinterpret_cast<std::uintptr_t>(dst) % sizeof(bytes) == 0) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(dst), bytes);
    } else {
      auto* const halves = reinterpret_cast<__m128i*>(dst);
      _mm_stream_si128(halves, _mm256_castsi256_si128(bytes));
      _mm_stream_si128(halves + 1, _mm256_extracti128_si256(bytes, 1));
    }
  } else {
    store_vector(dst, bytes);
  }
}
