#include "analysis/word_shape.hpp"

namespace stillbit::analysis {

WordShape word_shape(DType dtype) noexcept {
  const auto integer = [](unsigned num_bytes, bool is_signed) {
    return WordShape{num_bytes, true, is_signed, 0, 0, 0};
  };
  const auto real = [](unsigned num_bytes, unsigned exponent_bits, unsigned mantissa_bits, int bias) {
    return WordShape{num_bytes,     false,         1 + exponent_bits + mantissa_bits == 8 * num_bytes,
                     exponent_bits, mantissa_bits, bias};
  };
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
      return integer(1, false);
    case DType::kI8:
      return integer(1, true);
    case DType::kU16:
      return integer(2, false);
    case DType::kI16:
      return integer(2, true);
    case DType::kU32:
      return integer(4, false);
    case DType::kI32:
      return integer(4, true);
    case DType::kU64:
      return integer(8, false);
    case DType::kI64:
      return integer(8, true);
    case DType::kF8E4M3:
      return real(1, 4, 3, 7);
    case DType::kF8E5M2:
      return real(1, 5, 2, 15);
    case DType::kF8E8M0:
      return real(1, 8, 0, 127);
    case DType::kF8E4M3Fnuz:
      return real(1, 4, 3, 8);
    case DType::kF8E5M2Fnuz:
      return real(1, 5, 2, 16);
    case DType::kF16:
      return real(2, 5, 10, 15);
    case DType::kBF16:
      return real(2, 8, 7, 127);
    case DType::kF32:
    case DType::kC64:
      return real(4, 8, 23, 127);
    case DType::kF64:
      return real(8, 11, 52, 1023);
  }
  return integer(num_bytes(dtype), false);
}

}  // namespace stillbit::analysis
