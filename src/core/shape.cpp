#include "core/shape.hpp"

#include "core/checked.hpp"

namespace stillbit {

Result<RowGeometry> row_geometry(DType dtype, std::span<const std::uint64_t> shape, unsigned row_dims) {
  if (shape.size() > kMaxRank) {
    return invalid("rank " + std::to_string(shape.size()) + " is above " + std::to_string(kMaxRank));
  }
  if (row_dims > shape.size()) {
    return invalid("row_dims " + std::to_string(row_dims) + " is above the rank of shape " + to_string(shape));
  }
  // The bound is on the product without the zeros, so that no partial product overflows either.
  RowGeometry geometry{1, num_bytes(dtype)};
  std::uint64_t bound = num_bytes(dtype);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto product = checked_mul(bound, shape[i] == 0 ? 1 : shape[i]);
    if (!product || *product >= kMaxTensorBytes) return invalid("shape " + to_string(shape) + " is too large");
    bound = *product;
    (i < shape.size() - row_dims ? geometry.num_rows : geometry.row_bytes) *= shape[i];
  }
  return geometry;
}

std::string to_string(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace stillbit
