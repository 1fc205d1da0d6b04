#include "tests/support/pool_reference.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace stillbit::testing {
namespace {

double f16_value(std::uint64_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31);
  const auto fraction = static_cast<double>(bits & 1023);
  double value = exponent == 31  ? (fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan(""))
                 : exponent == 0 ? std::ldexp(fraction, -24)
                                 : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

std::uint64_t f16_bits(float value) {
  if (std::isnan(value)) return 0x7E00;
  const std::uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= 65520) return sign | 0x7C00;
  if (magnitude < std::ldexp(1, -14)) return sign | static_cast<std::uint64_t>(std::nearbyint(magnitude * 0x1p24));
  const int exponent = std::ilogb(magnitude);
  // What rounds up to the next power of two carries into the exponent.
  const auto fraction = static_cast<std::uint64_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return sign | ((static_cast<std::uint64_t>(exponent + 14) << 10) + fraction);
}

std::uint64_t bf16_bits(float value, bool halves_up) {
  if (std::isnan(value)) return 0x7FC0;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits + (halves_up ? 0x8000U : 0x7FFFU + (bits >> 16 & 1U))) >> 16;
}

/// An element, as the number that it is.
double value_of(DType dtype, std::uint64_t bits) {
  switch (dtype) {
    case DType::kF16:
      return f16_value(bits);
    case DType::kBF16:
      return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits << 16)));
    case DType::kF32:
      return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    default:
      return std::bit_cast<double>(bits);
  }
}

std::uint64_t bits_of(DType dtype, double value, bool halves_up) {
  const auto narrow = static_cast<float>(value);
  switch (dtype) {
    case DType::kF16:
      return f16_bits(narrow);
    case DType::kBF16:
      return bf16_bits(narrow, halves_up);
    case DType::kF32:
      return std::isnan(narrow) ? 0x7FC00000 : std::bit_cast<std::uint32_t>(narrow);
    default:
      return std::isnan(value) ? 0x7FF8000000000000 : std::bit_cast<std::uint64_t>(value);
  }
}

/// Adds in the type of sums. Products are stored, so that a compiler does not make one operation of two.
template <class Sum>
Sum sum_of(DType dtype, const std::vector<const std::byte*>& rows, const std::vector<std::uint64_t>& weights,
           bool is_fused, std::uint64_t column) {
  Sum sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto element = static_cast<Sum>(value_of(dtype, element_bits(dtype, rows[i], column)));
    if (weights.empty()) {
      sum += element;
      continue;
    }
    const auto weight = static_cast<Sum>(value_of(dtype, weights[i]));
    const volatile Sum product = element * weight;
    sum = is_fused ? std::fma(element, weight, sum) : sum + product;
  }
  return sum;
}

}  // namespace

std::uint64_t element_bits(DType dtype, const std::byte* row, std::uint64_t column) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, row + column * num_bytes(dtype), num_bytes(dtype));
  return bits;
}

std::uint64_t pooled_element(DType dtype, PoolMode mode, const std::vector<const std::byte*>& rows,
                             const std::vector<std::uint64_t>& weights, bool has_padding, std::uint64_t column) {
  if (rows.empty()) return 0;
  if (mode == PoolMode::kMax) {
    std::uint64_t most = element_bits(dtype, rows[0], column);
    for (const std::byte* row : rows) {
      const std::uint64_t bits = element_bits(dtype, row, column);
      if (value_of(dtype, bits) > value_of(dtype, most)) most = bits;
    }
    return most;
  }
  const bool is_double = dtype == DType::kF64;
  const bool is_fused = !has_padding && !is_double;
  const double sum = is_double ? sum_of<double>(dtype, rows, weights, is_fused, column)
                               : static_cast<double>(sum_of<float>(dtype, rows, weights, is_fused, column));
  const std::uint64_t bits = bits_of(dtype, sum, !has_padding);
  if (mode == PoolMode::kSum) return bits;
  const double count = value_of(dtype, bits_of(dtype, static_cast<double>(rows.size()), false));
  if (is_double) return bits_of(dtype, value_of(dtype, bits) / count, false);
  return bits_of(dtype, static_cast<double>(static_cast<float>(value_of(dtype, bits)) / static_cast<float>(count)),
                 false);
}

}  // namespace stillbit::testing
