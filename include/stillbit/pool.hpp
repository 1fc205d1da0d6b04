#pragma once

#include <stillbit/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

namespace stillbit {

/// What becomes of the rows of a bag, element by element.
enum class PoolMode : std::uint8_t { kSum, kMean, kMax };

/// Integers of either width that indices have; not owned.
using IndexSpan = std::variant<std::span<const std::int32_t>, std::span<const std::int64_t>>;

/// Bags of rows of one tensor. Bag i holds rows index[offsets[i]], index[offsets[i] + 1] … up to that of offsets[i +
/// 1].
struct Bags {
  IndexSpan index;

  /// Where each bag begins, never below the one before. The last bag ends with the index.
  IndexSpan offsets;

  /// One more offset says where the last bag ends. Numbers of the index that are in no bag are not looked at.
  bool has_last_offset = false;

  PoolMode mode = PoolMode::kSum;

  /// A factor for each number of the index, of the tensor's dtype. kSum only.
  std::optional<std::span<const std::byte>> weights;

  /// Rows with this number are left out, also of what a mean is divided by.
  std::optional<std::uint64_t> padding_index;

  [[nodiscard]] std::uint64_t num_bags() const;
};

/// Bags, the tensor that they are of, and where their results go.
struct PoolRequest {
  const CompressedTensor* tensor = nullptr;
  Bags bags;
  std::byte* out = nullptr;      ///< the result of bag 0: row_bytes() bytes, of the tensor's dtype
  std::uint64_t out_stride = 0;  ///< from the result of a bag to that of the next, in bytes: row_bytes() or more
};

/// Expands rows and pools them, without writing rows to memory, for several tensors at once: threads are shared by all.
/// Tensors of f16, bf16, f32 and f64.
///
/// The arithmetic is that of torch's `embedding_bag` on a CPU, to the last bit (docs/python.md, "Pooling"): rows are
/// added in the order of the index, in f32, or f64 for f64; a bag without rows gives zeros; a maximum is the first
/// of equals, and is never replaced by a NaN nor replaces one. Results are the same on every machine and with any
/// number of threads.
///
/// Throws kOutOfRange when a row is negative or not below num_rows(), kInvalidArgument for offsets, weights or strides
/// that do not fit, kUnsupported for other dtypes; nothing is written then. `num_threads` 0 is all processors.
void pool(std::span<const PoolRequest> requests, unsigned num_threads = 0);

}  // namespace stillbit
