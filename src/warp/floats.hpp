#pragma once

#include "warp/bits.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>

// Floating-point elements as warps add them. The arithmetic, and what is stored for a NaN, are those of
// pooling/kernels.hpp, to the last bit: every step is one rounded operation of IEEE 754. Where a compiler could make
// one operation of two, the operations are named.

namespace stillbit::warp {

enum class Element : std::uint8_t { kF16, kBF16, kF32, kF64 };

/// The same bits as another type.
template <class To, class From>
STILLBIT_WARP To with_bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/// a × b + c, rounded once.
STILLBIT_WARP float multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

/// a × b, which is then added to c: rounded twice.
STILLBIT_WARP float multiply_then_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(__fmul_rn(a, b), c);
#else
  const volatile float product = a * b;
  return product + c;
#endif
}

STILLBIT_WARP double multiply_then_add(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(__dmul_rn(a, b), c);
#else
  const volatile double product = a * b;
  return product + c;
#endif
}

STILLBIT_WARP float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

STILLBIT_WARP double divide(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}

/// Numbers in the order of the floats that words are: both zeros are 0. A NaN is `of_nan`.
template <class Floats>
STILLBIT_WARP typename Floats::Integer ordered(typename Floats::Word word, typename Floats::Integer of_nan) {
  using Integer = typename Floats::Integer;
  constexpr unsigned kSignAt = 8 * sizeof(word) - 1;
  const auto magnitude = static_cast<Integer>(word & ~(typename Floats::Word{1} << kSignAt));
  if (magnitude > static_cast<Integer>(Floats::kInfinity)) return of_nan;
  return (word >> kSignAt & 1) != 0 ? -magnitude : magnitude;
}

struct F32 {
  using Word = std::uint32_t;
  using Integer = std::int32_t;  ///< orders words
  using Sum = float;
  static constexpr bool kIsFused = true;
  static constexpr Word kInfinity = 0x7F800000U;
  STILLBIT_WARP static float widen(Word word) { return with_bits_of<float>(word); }
  STILLBIT_WARP static Word narrow(float sum, bool) { return sum != sum ? 0x7FC00000U : with_bits_of<Word>(sum); }
  STILLBIT_WARP static float rounded(std::uint64_t count) { return static_cast<float>(count); }
};

struct F64 {
  using Word = std::uint64_t;
  using Integer = std::int64_t;
  using Sum = double;
  static constexpr bool kIsFused = false;
  static constexpr Word kInfinity = 0x7FF0000000000000U;
  STILLBIT_WARP static double widen(Word word) { return with_bits_of<double>(word); }
  STILLBIT_WARP static Word narrow(double sum, bool) {
    return sum != sum ? 0x7FF8000000000000U : with_bits_of<Word>(sum);
  }
  STILLBIT_WARP static double rounded(std::uint64_t count) { return static_cast<double>(count); }
};

struct BF16 {
  using Word = std::uint16_t;
  using Integer = std::int32_t;
  using Sum = float;
  static constexpr bool kIsFused = true;
  static constexpr Word kInfinity = 0x7F80U;
  STILLBIT_WARP static float widen(Word word) { return with_bits_of<float>(static_cast<std::uint32_t>(word) << 16); }
  STILLBIT_WARP static Word narrow(float sum, bool halves_up) {
    const std::uint32_t bits = F32::narrow(sum, false);
    return static_cast<Word>((bits + (halves_up ? 0x8000U : (bits >> 16 & 1U) + 0x7FFFU)) >> 16);
  }
  /// torch turns the number of rows into an element before it divides by it.
  STILLBIT_WARP static float rounded(std::uint64_t count) { return widen(narrow(static_cast<float>(count), false)); }
};

struct F16 {
  using Word = std::uint16_t;
  using Integer = std::int32_t;
  using Sum = float;
  static constexpr bool kIsFused = true;
  static constexpr Word kInfinity = 0x7C00U;
  /// The bits of an f16, moved to where an f32 has them, are its value times 2^-112; a product with a power of two is
  /// exact.
  STILLBIT_WARP static float widen(Word word) {
    const std::uint32_t magnitude = (word & 0x7FFFU) << 13;
    const float value = with_bits_of<float>(magnitude) * 0x1p112F;
    const std::uint32_t bits =
        magnitude >= std::uint32_t{kInfinity} << 13 ? magnitude | F32::kInfinity : with_bits_of<std::uint32_t>(value);
    return with_bits_of<float>(bits | (word & 0x8000U) << 16);
  }
  STILLBIT_WARP static Word narrow(float sum, bool) {
    const auto bits = with_bits_of<std::uint32_t>(sum);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > F32::kInfinity) return 0x7E00U;
    constexpr std::uint32_t kSmallestNormal = 0x38800000U;  // 2^-14
    constexpr std::uint32_t kOverflow = 0x47800000U;        // 2^16; what rounds to that becomes infinity by itself
    std::uint32_t half = kInfinity;
    if (magnitude < kSmallestNormal) {
      // The sum with 0.5 has its last bit where an f16 has it, and is rounded to that by the addition.
      half = with_bits_of<std::uint32_t>(with_bits_of<float>(magnitude) + 0.5F) - 0x3F000000U;
    } else if (magnitude < kOverflow) {
      // The exponent is moved, and the last 13 bits are rounded off; a carry goes where it belongs.
      half = (magnitude - (112U << 23) + 0xFFFU + (magnitude >> 13 & 1U)) >> 13;
    }
    return static_cast<Word>(half | (bits >> 16 & 0x8000U));
  }
  STILLBIT_WARP static float rounded(std::uint64_t count) { return widen(narrow(static_cast<float>(count), false)); }
};

/// Calls `body` with a value of the type for an element.
template <class Body>
STILLBIT_WARP void with_floats(Element element, const Body& body) {
  switch (element) {
    case Element::kF16:
      return body(F16());
    case Element::kBF16:
      return body(BF16());
    case Element::kF32:
      return body(F32());
    default:
      return body(F64());
  }
}

}  // namespace stillbit::warp
