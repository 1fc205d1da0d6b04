// Planes of fields to and from placed fields, in plain C++, behind stages.inl and fields/plane.inl.

template <class Word>
inline void pack_fields(const RowLayout& layout, const Word* placed, std::uint64_t count, std::byte* dst) {
  const unsigned place = layout.dropped_bits;
  put_fields(dst, count, layout.field_bits, [&](std::uint64_t i) { return std::uint64_t{placed[i]} >> place; });
}

/// The same bits in the low end of each lane of so many bits.
constexpr std::uint64_t in_each_lane(std::uint64_t bits, unsigned lane_bits) {
  for (; lane_bits < 64; lane_bits *= 2) bits |= bits << lane_bits;
  return bits;
}

/// Brings the fields of 8 bytes of words, which follow each other, to the low ends of the words: half of them to the
/// upper half, and so on in each half.
template <class Word>
class FieldSpreader {
 public:
  explicit FieldSpreader(unsigned field_bits) {
    for (unsigned i = 0; i < kNumSteps; ++i) {
      const unsigned lane_bits = 32U >> i;
      const unsigned moved_bits = lane_bits / kWordBits * field_bits;
      shift_[i] = lane_bits - moved_bits;
      low_[i] = in_each_lane((std::uint64_t{1} << moved_bits) - 1, 2 * lane_bits);
      high_[i] = low_[i] << lane_bits;
    }
    const std::uint64_t field = (std::uint64_t{1} << field_bits) - 1;
    field_ = in_each_lane(field, kWordBits);
  }

  [[nodiscard]] std::uint64_t operator()(std::uint64_t fields) const {
    for (unsigned i = 0; i < kNumSteps; ++i) fields = (fields & low_[i]) | (fields << shift_[i] & high_[i]);
    return fields & field_;
  }

 private:
  static constexpr unsigned kWordBits = 8 * sizeof(Word);
  static constexpr unsigned kNumSteps = sizeof(Word) == 1 ? 3 : sizeof(Word) == 2 ? 2 : sizeof(Word) == 4 ? 1 : 0;

  unsigned shift_[kNumSteps + 1] = {};
  std::uint64_t low_[kNumSteps + 1] = {};
  std::uint64_t high_[kNumSteps + 1] = {};
  std::uint64_t field_ = 0;
};

template <class Word>
inline void unpack_fields(const RowLayout& layout, const std::byte* src, std::uint64_t count, Word* placed) {
  constexpr std::uint64_t kWords = 8 / sizeof(Word);
  const unsigned place = layout.dropped_bits;
  const unsigned field_bits = layout.field_bits;
  const FieldSpreader<Word> spread(field_bits);
  std::uint64_t i = 0;
  for (; i + kWords <= count; i += kWords) {
    const std::uint64_t bit = i * field_bits;
    const std::uint64_t words = spread(load<std::uint64_t>(src + bit / 8) >> (bit % 8)) << place;
    __builtin_memcpy(placed + i, &words, sizeof(words));
  }
  const std::uint64_t mask = (std::uint64_t{1} << field_bits) - 1;
  for (unsigned left = count % kWords; left > 0; --left, ++i) {
    const std::uint64_t bit = i * field_bits;
    const std::uint64_t field = load<std::uint64_t>(src + bit / 8) >> (bit % 8) & mask;
    placed[i] = static_cast<Word>(field << place);
  }
}
