#include "tests/support/make_tensor.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

namespace stillbit::testing {
namespace {

/// SplitMix64: small, and the same everywhere, which the standard library's distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(2 * std::numbers::pi * uniform()); }

 private:
  std::uint64_t state_;
};

/// An f32 cut down to 16 bits of another layout. Exact rounding does not matter here, only realistic bits.
std::uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const int exponent = static_cast<int>(bits >> 23 & 0xFF) - 127 + 15;
  if (exponent <= 0) return sign;
  if (exponent >= 31) return static_cast<std::uint16_t>(sign | 0x7C00);
  return static_cast<std::uint16_t>(sign | exponent << 10 | (bits >> 13 & 0x3FF));
}

/// The bit pattern of a number in a dtype; integers take its value times 100.
std::uint64_t pattern_of(DType dtype, double value) {
  switch (dtype) {
    case DType::kF64:
      return std::bit_cast<std::uint64_t>(value);
    case DType::kF32:
      return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    case DType::kC64: {
      const std::uint64_t part = std::bit_cast<std::uint32_t>(static_cast<float>(value));
      return part | part << 32;
    }
    case DType::kBF16:
      return std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16;
    case DType::kF16:
      return to_f16(static_cast<float>(value));
    case DType::kF8E5M2:
      return to_f16(static_cast<float>(value)) >> 8;
    default:
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(value * 100));
  }
}

std::uint64_t element(DType dtype, Values values, std::uint64_t i, Random& random) {
  switch (values) {
    case Values::kNormal:
    case Values::kRepeatedRows:
      return pattern_of(dtype, 0.02 * random.normal());
    case Values::kBagOfWords:
      return random.next() % 50 == 0 ? pattern_of(dtype, 1.0) : 0;
    case Values::kSmallInts:
      return random.next() % 8;
    case Values::kOutliers:
      return random.next() % 1000 == 0 ? random.next() : pattern_of(dtype, 1.0 + random.uniform());
    case Values::kRandomBits:
      return random.next();
    case Values::kConstant:
      return 0xDEADBEEFCAFEF00DU;
    case Values::kAllPatterns:
      return i;
  }
  return 0;
}

}  // namespace

OwnedTensor make_tensor(DType dtype, std::vector<std::uint64_t> shape, Values values, std::uint64_t seed) {
  std::uint64_t num_elements = 1;
  for (const std::uint64_t size : shape) num_elements *= size;
  const unsigned width = num_bytes(dtype);
  OwnedTensor tensor{dtype, std::move(shape), std::vector<std::byte>(num_elements * width)};
  Random random(seed);
  for (std::uint64_t i = 0; i < num_elements; ++i) {
    const std::uint64_t pattern = element(dtype, values, i, random);
    std::memcpy(tensor.data.data() + i * width, &pattern, width);
  }
  if (values == Values::kRepeatedRows && num_elements > 0) {
    const std::uint64_t row_bytes = tensor.shape.empty() ? width : tensor.shape.back() * width;
    const std::uint64_t num_rows = tensor.data.size() / row_bytes;
    for (std::uint64_t row = 3; row < num_rows; ++row) {
      const std::uint64_t repeated = random.next() % 3;
      std::memcpy(tensor.data.data() + row * row_bytes, tensor.data.data() + repeated * row_bytes, row_bytes);
    }
  }
  return tensor;
}

std::string name(Values values) {
  constexpr const char* kNames[] = {"Normal",     "BagOfWords", "SmallInts",   "Outliers",
                                    "RandomBits", "Constant",   "AllPatterns", "RepeatedRows"};
  return kNames[static_cast<int>(values)];
}

}  // namespace stillbit::testing
