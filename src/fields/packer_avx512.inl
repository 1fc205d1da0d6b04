// Planes of fields that follow each other without gaps, put together by AVX-512, 64 bytes of words at a time. Included
// inside a namespace, behind fields/packing.hpp.

/// Packs the fields of words that have nothing but a field, from bit `place` on.
template <class Word>
class FieldPacker {
 public:
  FieldPacker(const fields::FieldPacking& packing, unsigned field_bits, unsigned place)
      : from_even_(_mm512_loadu_si512(packing.from_byte[0])),
        from_odd_(_mm512_loadu_si512(packing.from_byte[1])),
        shift_(_mm512_loadu_si512(packing.shift)),
        even_(packing.moved[0]),
        odd_(packing.moved[1]) {
    unsigned bits = field_bits;
    unsigned word_bits = 8 * sizeof(Word);
    if constexpr (kSteps == 0) place_ = _mm512_set1_epi64(static_cast<long long>(place));
    for (unsigned i = 0; i < kSteps; ++i) {
      // The first of two goes to the low end, the second right above it.
      steps_[i] = {set(place, word_bits), set(place + word_bits - bits, word_bits), set(low_bits(bits), word_bits)};
      place = 0;
      bits *= 2;
      word_bits *= 2;
    }
  }

  /// The fields of 64 bytes of words. What is behind them is 0.
  [[nodiscard]] __m512i pack(__m512i words) const {
    if constexpr (kSteps == 0) words = _mm512_srlv_epi64(words, place_);
    if constexpr (kSteps == 3) words = joined<2>(words, steps_[0]);
    if constexpr (kSteps >= 2) words = joined<4>(words, steps_[kSteps - 2]);
    if constexpr (kSteps >= 1) words = joined<8>(words, steps_[kSteps - 1]);
    const __m512i groups = _mm512_sllv_epi64(words, shift_);
    return _mm512_or_si512(_mm512_maskz_permutexvar_epi8(even_, from_even_, groups),
                           _mm512_maskz_permutexvar_epi8(odd_, from_odd_, groups));
  }

 private:
  static constexpr unsigned kSteps = sizeof(Word) == 1 ? 3 : sizeof(Word) == 2 ? 2 : sizeof(Word) == 4 ? 1 : 0;

  /// Two neighbours become one, twice as wide.
  struct Step {
    __m512i first_by;   ///< shifted right
    __m512i second_by;  ///< both together
    __m512i first_mask;
  };

  static std::uint64_t low_bits(unsigned count) { return (std::uint64_t{1} << count) - 1; }

  /// In each two neighbours of `word_bits` bits.
  static __m512i set(std::uint64_t value, unsigned word_bits) {
    if (word_bits == 8) return _mm512_set1_epi16(static_cast<short>(value));
    if (word_bits == 16) return _mm512_set1_epi32(static_cast<int>(value));
    return _mm512_set1_epi64(static_cast<long long>(value));
  }

  template <unsigned kBytes>
  static __m512i shift_right(__m512i pairs, __m512i by) {
    if constexpr (kBytes == 2) return _mm512_srlv_epi16(pairs, by);
    if constexpr (kBytes == 4) return _mm512_srlv_epi32(pairs, by);
    return _mm512_srlv_epi64(pairs, by);
  }

  /// Neighbours within kBytes bytes.
  template <unsigned kBytes>
  static __m512i joined(__m512i pairs, const Step& step) {
    constexpr int kSecondWhereFirstElseThird = 0xCA;
    return _mm512_ternarylogic_epi64(step.first_mask, shift_right<kBytes>(pairs, step.first_by),
                                     shift_right<kBytes>(pairs, step.second_by), kSecondWhereFirstElseThird);
  }

  Step steps_[kSteps > 0 ? kSteps : 1];
  __m512i place_;
  __m512i from_even_;
  __m512i from_odd_;
  __m512i shift_;
  __mmask64 even_;
  __mmask64 odd_;
};
