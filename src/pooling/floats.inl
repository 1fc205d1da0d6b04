// Floating-point elements as vectors of the sums that they are added to. Included once per instruction set, inside a
// namespace, where kVectorBytes is the size of a register and `multiply_add`, `widen_f16` and `narrow_f16` are declared
// before and come from that instruction set.

template <class T, std::uint64_t kBytes = kVectorBytes>
using VectorOf __attribute__((vector_size(kBytes))) = T;

using Floats = VectorOf<float>;
using Doubles = VectorOf<double>;
using Halves = VectorOf<std::uint16_t, kVectorBytes / 2>;  ///< 16-bit words, as many as a Floats has elements

template <class Vector>
constexpr std::uint64_t kLanesOf = sizeof(Vector) / sizeof(Vector{}[0]);

/// a × b + c, rounded once.
Floats multiply_add(Floats a, Floats b, Floats c);
Floats widen_f16(Halves words);
/// Rounds to the nearest, halves to even. What a NaN becomes does not matter.
Halves narrow_f16(Floats values);

/// The one NaN that results have, whatever went into them.
template <class Vector, class Word>
inline __attribute__((always_inline)) Vector canonical(Vector values, Word nan) {
  const auto is_nan = values != values;
  return reinterpret_cast<Vector>(is_nan ? decltype(is_nan){} + nan : reinterpret_cast<decltype(is_nan)>(values));
}

/// The same for 16-bit words.
inline __attribute__((always_inline)) Halves canonical_half(Halves words, std::uint16_t infinity, std::uint16_t nan) {
  return (words & std::uint16_t{0x7FFF}) > infinity ? Halves{} + nan : words;
}

struct F32 {
  using Sums = Floats;
  using Words = Floats;
  using OrderedWord = std::int32_t;
  using Ordered = VectorOf<OrderedWord>;
  static constexpr std::uint64_t kBytes = 4;
  static constexpr bool kIsFused = true;
  static constexpr OrderedWord kInfinity = 0x7F800000;
  static Floats widen(const std::byte* src) { return stillbit::load<Floats>(src); }
  static Floats widen(Floats values) { return values; }
  static float widened(const std::byte* src) { return stillbit::load<float>(src); }
  static Floats narrow(Floats sums, bool) { return canonical(sums, 0x7FC00000); }
  static float rounded(std::uint64_t count) { return static_cast<float>(count); }
};

struct F64 {
  using Sums = Doubles;
  using Words = Doubles;
  using OrderedWord = std::int64_t;
  using Ordered = VectorOf<OrderedWord>;
  static constexpr std::uint64_t kBytes = 8;
  static constexpr bool kIsFused = false;
  static constexpr OrderedWord kInfinity = 0x7FF0000000000000;
  static Doubles widen(const std::byte* src) { return stillbit::load<Doubles>(src); }
  static Doubles widen(Doubles values) { return values; }
  static double widened(const std::byte* src) { return stillbit::load<double>(src); }
  static Doubles narrow(Doubles sums, bool) { return canonical(sums, 0x7FF8000000000000); }
  static double rounded(std::uint64_t count) { return static_cast<double>(count); }
};

/// What both 16-bit types have in common.
template <class Own>
struct Half {
  using Sums = Floats;
  using Words = Halves;
  using OrderedWord = std::int16_t;
  using Ordered = VectorOf<OrderedWord>;
  static constexpr std::uint64_t kBytes = 2;
  static constexpr bool kIsFused = true;
  static Floats widen(const std::byte* src) { return Own::widen(stillbit::load<Halves>(src)); }
  static float widened(const std::byte* src) { return Own::widen(Halves{} + stillbit::load<std::uint16_t>(src))[0]; }
  /// torch turns the number of rows into an element before it divides by it.
  static float rounded(std::uint64_t count) {
    return Own::widen(Own::narrow(Floats{} + static_cast<float>(count), false))[0];
  }
};

struct BF16 : Half<BF16> {
  using Half::widen;
  using Bits = VectorOf<std::uint32_t>;
  static constexpr OrderedWord kInfinity = 0x7F80;
  static Floats widen(Halves words) { return reinterpret_cast<Floats>(__builtin_convertvector(words, Bits) << 16); }
  static Halves narrow(Floats sums, bool halves_up) {
    const Bits bits = reinterpret_cast<Bits>(sums);
    const Bits half = halves_up ? Bits{} + 0x8000 : (bits >> 16 & 1) + 0x7FFF;
    const Bits rounded = (bits + half) >> 16;
    // NaN + half may have wrapped around: of NaNs the bits before that say what they are.
    const Bits is_nan = reinterpret_cast<Bits>(sums != sums);
    return __builtin_convertvector((is_nan & 0x7FC0) | (~is_nan & rounded), Halves);
  }
};

struct F16 : Half<F16> {
  using Half::widen;
  static constexpr OrderedWord kInfinity = 0x7C00;
  static Floats widen(Halves words) { return widen_f16(words); }
  static Halves narrow(Floats sums, bool) { return canonical_half(narrow_f16(sums), kInfinity, 0x7E00); }
};
