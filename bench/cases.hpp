// What benchmarks run on: tensors along named axes.

#pragma once

#include "tests/support/make_tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace stillbit::bench {

/// One tensor: a point on the axes dtype, columns (elements of a row), values and size.
struct Case {
  DType dtype = DType::kF32;
  std::uint64_t columns = 0;
  testing::Values values = testing::Values::kNormal;
  bool is_in_cache = false;     ///< 64 KB, else larger than caches
  bool has_bulk = true;         ///< whether compressing and expanding all of it is timed, besides gathering
  bool has_peers = false;       ///< whether other compressors are timed on it
  std::uint64_t num_bytes = 0;  ///< of the raw tensor

  [[nodiscard]] std::uint64_t row_bytes() const;
  [[nodiscard]] std::uint64_t num_rows() const { return num_bytes / row_bytes(); }

  /// "dtype:bf16/columns:1024/values:normal/size:dram"
  [[nodiscard]] std::string name() const;

  /// How many threads are tried: what fits into a core's cache is work for one.
  [[nodiscard]] std::vector<unsigned> threads() const;
};

/// `dram_bytes` is what a tensor past all caches takes, a multiple of 16 MiB.
std::vector<Case> all_cases(std::uint64_t dram_bytes);

/// A case's raw tensor, memory that it can be expanded to, and rows to gather.
struct Data {
  explicit Data(const Case& made_for);

  [[nodiscard]] TensorView view() const;

  /// Rows for one call. Each call in turn takes other rows, so that none of them lies in a cache already.
  [[nodiscard]] std::span<const std::int64_t> next_index();

  Case which;
  std::vector<std::byte> raw;
  std::vector<std::byte> out;  ///< as large, and written to, so that the system has given it all of its memory
  unsigned ahead = 0;          ///< how many rows ahead a raw gather does best to prefetch, of 4 … 64

 private:
  std::vector<std::int64_t> index_;
  std::size_t per_call_ = 0;
  std::size_t next_ = 0;
};

/// Inverts every bit, so that what is not written afterwards is found.
void invert(std::span<std::byte> bytes);

/// Ends the program: numbers of what is not exact are worth nothing.
void require(bool is_exact, const std::string& what);

}  // namespace stillbit::bench
