// Stages of decoding by AVX2. Included by kernels_avx2.cpp, behind stages.inl and fields/expansions_avx2.inl.

/// The states of a row, 8 in a vector, and the words that they take. These are chains enough: two rows together take at
/// most a twentieth less time (Intel Xeon with AMX).
class VectorReader : public RowStates {
 public:
  static constexpr unsigned kRowsTogether = 1;

  using RowStates::RowStates;

  /// As the portable one.
  bool take(const RowLayout& layout, const std::uint8_t* tables, std::uint64_t first, std::uint64_t count,
            std::uint8_t* indices) {
    for (std::uint64_t begin = 0; begin < count; begin += kStates) {
      const std::uint8_t* const of_round = tables == nullptr ? nullptr : tables + first + begin;
      if (count - begin >= kStates) {
        take_round(layout, of_round, indices + begin);
      } else {
        take_one_by_one(layout, of_round, count - begin, indices + begin);
      }
      if (next_ > end_) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned kLanes = 8;

  /// A step of all states; writes their indices. 64 bytes behind `next_` are read.
  __attribute__((always_inline)) void take_round(const RowLayout& layout, const std::uint8_t* tables,
                                                 std::uint8_t* indices) {
    constexpr unsigned kVectors = kStates / kLanes;
    __m256i slots[kVectors];
    const std::byte* next = next_;
#pragma GCC unroll 4
    for (unsigned i = 0; i < kVectors; ++i) {
      const __m256i state = advanced(layout, tables == nullptr ? nullptr : tables + i * kLanes, i, slots[i]);
      const __m256i is_due = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, kWordBits), _mm256_setzero_si256());
      const auto due = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(is_due)));
      const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(next));
      const auto* const from_byte = reinterpret_cast<const __m128i*>(kExpansions.from_byte[due]);
      const __m256i taken = _mm256_cvtepu16_epi32(_mm_shuffle_epi8(words, _mm_load_si128(from_byte)));
      next += 2 * static_cast<unsigned>(__builtin_popcount(due));
      const __m256i shift = _mm256_and_si256(is_due, _mm256_set1_epi32(kWordBits));
      store_vector(states_ + i * kLanes, _mm256_or_si256(_mm256_sllv_epi32(state, shift), taken));
    }
    next_ = next;
    store_vector(indices, low_bytes(slots));
  }

  /// 8 states behind their symbols, before they take words.
  __attribute__((always_inline)) __m256i advanced(const RowLayout& layout, const std::uint8_t* tables, unsigned vector,
                                                  __m256i& slots) const {
    const __m128i scale_bits = shift_count(layout.scale_bits);
    const __m256i mask = _mm256_set1_epi32(static_cast<int>((1U << layout.scale_bits) - 1));
    const __m256i states = load_vector(states_ + vector * kLanes);
    __m256i at = _mm256_and_si256(states, mask);
    if (tables != nullptr) {
      const __m256i table = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(tables)));
      at = _mm256_or_si256(at, _mm256_sll_epi32(table, scale_bits));
    }
    slots = _mm256_i32gather_epi32(reinterpret_cast<const int*>(layout.slots), at, sizeof(Slot));
    const __m256i turns = _mm256_srl_epi32(states, scale_bits);
    const __m256i less_one = _mm256_and_si256(_mm256_srli_epi32(slots, kFrequencyAt), _mm256_set1_epi32(0xFFF));
    const __m256i place = _mm256_srli_epi32(slots, kPlaceAt);
    return _mm256_add_epi32(_mm256_mullo_epi32(turns, less_one), _mm256_add_epi32(turns, place));
  }

  /// The lowest byte of each of 32 words.
  static __m256i low_bytes(const __m256i* words) {
    const __m256i low = _mm256_set1_epi32(0xFF);
    const auto pair = [&](unsigned i) {
      return _mm256_packus_epi32(_mm256_and_si256(words[i], low), _mm256_and_si256(words[i + 1], low));
    };
    // Packed by halves of vectors: four bytes of each vector in turn.
    const __m256i in_order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(pair(0), pair(2)), in_order);
  }
};

using StreamReader = VectorReader;
