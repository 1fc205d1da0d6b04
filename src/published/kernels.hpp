#pragma once

#include "cpu/isa.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit::published {

/// Bytes behind a stored row that decoding may read.
inline constexpr std::uint64_t kReadAheadBytes = 16;

/// The steps over the words of one row, for one instruction set. They allocate nothing and check nothing but what the
/// stored row decides. `mask` and `value` are rows of row_bytes bytes, of any alignment, and so is `row`.
struct Kernels {
  /// Bits that the words of a row that agree leave out.
  std::uint64_t (*saved_bits)(const std::byte* row, const std::byte* mask, const std::byte* value,
                              std::uint64_t row_bytes);

  /// Writes participation bits and bit stream to Layout::scratch_bytes of `dst`; returns the stored size, which may
  /// exceed row_bytes. Precondition: `dst` lies apart from the row.
  std::uint64_t (*encode)(const std::byte* row, const std::byte* mask, const std::byte* value, std::uint64_t row_bytes,
                          std::byte* dst);

  /// Expands a compressed row of at most `stored_bytes` bytes into row_bytes of `dst`. Returns false, with `dst` partly
  /// written, where the participation bits ask for more. Precondition: stored_bytes + kReadAheadBytes are readable.
  bool (*decode)(const std::byte* src, std::uint64_t stored_bytes, const std::byte* mask, const std::byte* value,
                 std::uint64_t row_bytes, std::byte* dst);

  /// Bits in which two rows differ.
  std::uint64_t (*distance)(const std::byte* row, const std::byte* other, std::uint64_t row_bytes);
};

/// The kernels for words of 1, 2, 4 or 8 bytes. Precondition: the machine supports `isa`.
const Kernels& kernels(unsigned word_bytes, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::published
