#pragma once

#include <stillbit/dtype.hpp>

#include <bit>
#include <cstdint>

namespace stillbit::analysis {

/// What the bits of a number mean. A complex element is two numbers.
struct WordShape {
  unsigned num_bytes = 1;
  bool is_integer = true;
  bool is_signed = false;
  unsigned exponent_bits = 0;  ///< of floats
  unsigned mantissa_bits = 0;
  int bias = 0;

  /// The most exponents that there can be.
  [[nodiscard]] unsigned num_exponents() const noexcept { return is_integer ? 8 * num_bytes + 1 : 1U << exponent_bits; }

  /// The exponent field of a float; the bits that the magnitude of an integer needs.
  [[nodiscard]] unsigned exponent(std::uint64_t word) const noexcept {
    if (!is_integer) return static_cast<unsigned>(word >> mantissa_bits & ((std::uint64_t{1} << exponent_bits) - 1));
    const unsigned unused = 64 - 8 * num_bytes;
    const auto value = static_cast<std::int64_t>(word << unused) >> unused;
    const bool is_negative = is_signed && value < 0;
    return static_cast<unsigned>(
        std::bit_width(is_negative ? std::uint64_t{0} - static_cast<std::uint64_t>(value) : word));
  }

  /// Bits that a number takes beside its exponent: mantissa and sign; of an integer those below its highest, and the
  /// sign where there is a choice.
  [[nodiscard]] unsigned rest_bits(unsigned exponent) const noexcept {
    const unsigned sign_bits = is_signed ? 1 : 0;
    if (!is_integer) return mantissa_bits + sign_bits;
    return exponent == 0 ? 0 : exponent - 1 + sign_bits;
  }
};

[[nodiscard]] WordShape word_shape(DType dtype) noexcept;

}  // namespace stillbit::analysis
