#pragma once

#include "cpu/isa.hpp"

#include <stillbit/dtype.hpp>

#include <cstddef>
#include <cstdint>

// How rows of floating-point numbers are pooled. The arithmetic is that of torch's `embedding_bag` on a CPU, whose
// paths differ in two roundings (Arithmetic). Each result depends on the elements alone, not on the instruction set:
// every step is one rounded operation of IEEE 754, and what is stored for a NaN does not depend on where it came from.

namespace stillbit::pooling {

/// Bytes behind a row that kernels may read.
inline constexpr std::uint64_t kSlack = 64;

/// What torch does with a bag depends on whether it looks for padding.
enum class Arithmetic {
  kFused,     ///< without: a weighted row is added by one fused operation (not in f64); bf16 rounds halves up
  kSeparate,  ///< with: it is multiplied, then added; bf16 rounds halves to even
};

/// Rows of a batch that follow each other in one bag: all of it, or the next ones.
struct Piece {
  std::byte* out = nullptr;    ///< where the bag's result goes, of any alignment; not read
  std::uint64_t num_rows = 0;  ///< may be 0
  std::uint64_t divisor = 0;   ///< of a mean, where the piece ends the bag: its rows, 1 at least; 0 for a sum
  bool begins = true;          ///< no row of the bag came before
  bool ends = true;            ///< none follows: the result is written
};

/// Expanded rows, and the bags that they belong to, in order.
struct Batch {
  const std::byte* const* rows = nullptr;  ///< kSlack bytes behind each are readable
  const std::byte* weights = nullptr;      ///< an element for each row, of any alignment; or null
  const Piece* pieces = nullptr;
  std::uint64_t num_pieces = 0;
  std::uint64_t row_bytes = 0;
  Arithmetic arithmetic = Arithmetic::kFused;
  std::byte* state = nullptr;  ///< what is known of a bag between batches: state_bytes(row_bytes)
};

[[nodiscard]] constexpr std::uint64_t state_bytes(std::uint64_t row_bytes) noexcept {
  return 2 * (row_bytes + kSlack);
}

/// The kernels for one dtype and instruction set. They allocate nothing.
struct Kernels {
  void (*sum)(const Batch& batch);  ///< and mean
  void (*max)(const Batch& batch);
};

/// Null for dtypes that are not pooled. Precondition: the machine supports `isa`.
const Kernels* kernels(DType dtype, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::pooling
