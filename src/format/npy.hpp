#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <stillbit/dtype.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace stillbit::format {

/// The header of a .npy file (NumPy Enhancement Proposal 1), versions 1 to 3.
struct NpyHeader {
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;
  bool fortran_order = false;
  std::uint64_t data_offset = 0;
  std::uint64_t data_bytes = 0;
};

/// Reads and validates the header of a whole file. Types that are no plain little-endian numbers are refused; objects
/// are never unpickled.
Result<NpyHeader> parse_npy(Bytes file);

/// The header's bytes, 64-byte aligned as NumPy writes them, for C order. Types that NumPy lacks (bf16, fp8) are
/// written as unsigned integers of the same width.
std::string serialize_npy(DType dtype, std::span<const std::uint64_t> shape);

/// The dtype that a tensor has after it went through a .npy file.
[[nodiscard]] DType npy_dtype(DType dtype) noexcept;

}  // namespace stillbit::format
