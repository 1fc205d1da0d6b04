// Floating-point elements as vectors of the sums that they are added to. Included once per instruction set, inside a
// namespace, where kVectorBytes is the size of a register; what is declared here without a body comes from there.
//
// A vector of `Words` holds elements as rows have them, and stands for kParts vectors of `Sums`: which of its elements
// are in which part is an element type's own affair.

template <class T, std::uint64_t kBytes = kVectorBytes>
using VectorOf __attribute__((vector_size(kBytes))) = T;

using Floats = VectorOf<float>;
using Doubles = VectorOf<double>;
using Bits = VectorOf<std::uint32_t>;
using Shorts = VectorOf<std::uint16_t>;

/// a × b + c, rounded once.
Floats multiply_add(Floats a, Floats b, Floats c);
/// The lower or the upper half of f16 words.
Floats widen_f16(Shorts words, unsigned half);
/// Rounds to the nearest, halves to even. What a NaN becomes does not matter.
Shorts narrow_f16(Floats lower, Floats upper);

/// The one NaN that results have, whatever went into them.
template <class Vector, class Word>
inline __attribute__((always_inline)) Vector canonical(Vector values, Word nan) {
  const auto is_nan = values != values;
  return reinterpret_cast<Vector>(is_nan ? decltype(is_nan){} + nan : reinterpret_cast<decltype(is_nan)>(values));
}

struct F32 {
  using Sums = Floats;
  using Words = Floats;
  using Word = std::int32_t;
  static constexpr unsigned kParts = 1;
  static constexpr bool kIsFused = true;
  static constexpr Word kInfinity = 0x7F800000;
  static Floats widen(Floats words, unsigned) { return words; }
  static Floats narrow(const Floats* sums, bool) { return canonical(sums[0], 0x7FC00000); }
  static float widened(const std::byte* src) { return stillbit::load<float>(src); }
  static float rounded(std::uint64_t count) { return static_cast<float>(count); }
};

struct F64 {
  using Sums = Doubles;
  using Words = Doubles;
  using Word = std::int64_t;
  static constexpr unsigned kParts = 1;
  static constexpr bool kIsFused = false;
  static constexpr Word kInfinity = 0x7FF0000000000000;
  static Doubles widen(Doubles words, unsigned) { return words; }
  static Doubles narrow(const Doubles* sums, bool) { return canonical(sums[0], 0x7FF8000000000000); }
  static double widened(const std::byte* src) { return stillbit::load<double>(src); }
  static double rounded(std::uint64_t count) { return static_cast<double>(count); }
};

/// What both 16-bit types have in common.
template <class Own>
class Half {
  friend Own;
  Half() = default;

 public:
  using Sums = Floats;
  using Words = Shorts;
  using Word = std::int16_t;
  static constexpr unsigned kParts = 2;
  static constexpr bool kIsFused = true;
  static float widened(const std::byte* src) { return Own::widen(Shorts{} + stillbit::load<std::uint16_t>(src), 0)[0]; }
  /// torch turns the number of rows into an element before it divides by it.
  static float rounded(std::uint64_t count) {
    const Floats sums[2] = {Floats{} + static_cast<float>(count), Floats{}};
    return Own::widen(Own::narrow(sums, false), 0)[0];
  }
};

/// Part 0 is the elements with even numbers, part 1 those between: both are where they are in a pair of words, but for
/// a shift.
struct BF16 : public Half<BF16> {
  static constexpr Word kInfinity = 0x7F80;
  static Floats widen(Shorts words, unsigned part) {
    const Bits pairs = reinterpret_cast<Bits>(words);
    return reinterpret_cast<Floats>(part == 0 ? pairs << 16 : pairs & 0xFFFF0000U);
  }
  static Shorts narrow(const Floats* sums, bool halves_up) {
    return reinterpret_cast<Shorts>(rounded_bits(sums[0], halves_up) >> 16 |
                                    (rounded_bits(sums[1], halves_up) & 0xFFFF0000U));
  }

 private:
  static Bits rounded_bits(Floats sums, bool halves_up) {
    const Bits bits = reinterpret_cast<Bits>(canonical(sums, 0x7FC00000));
    return bits + (halves_up ? Bits{} + 0x8000U : (bits >> 16 & 1U) + 0x7FFFU);
  }
};

struct F16 : public Half<F16> {
  static constexpr Word kInfinity = 0x7C00;
  static Floats widen(Shorts words, unsigned part) { return widen_f16(words, part); }
  static Shorts narrow(const Floats* sums, bool) {
    const Shorts words = narrow_f16(sums[0], sums[1]);
    return (words & std::uint16_t{0x7FFF}) > std::uint16_t{0x7C00} ? Shorts{} + std::uint16_t{0x7E00} : words;
  }
};
