#pragma once

#include "core/result.hpp"

#include <stillbit/dtype.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace stillbit {

/// A tensor seen as rows: what every layer below the public API works on.
struct RowGeometry {
  std::uint64_t num_rows = 0;
  std::uint64_t row_bytes = 0;

  [[nodiscard]] std::uint64_t num_bytes() const noexcept { return num_rows * row_bytes; }
};

inline constexpr unsigned kMaxRank = 64;

/// No tensor has 2^62 bytes or more: sums of a few sizes then never overflow.
inline constexpr std::uint64_t kMaxTensorBytes = std::uint64_t{1} << 62;

/// Rows and their size when the last `row_dims` dimensions make a row. Fails when the sizes do not fit.
Result<RowGeometry> row_geometry(DType dtype, std::span<const std::uint64_t> shape, unsigned row_dims);

/// "[3, 4]", for messages.
std::string to_string(std::span<const std::uint64_t> shape);

}  // namespace stillbit
