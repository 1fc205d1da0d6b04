#pragma once

#include "format/payload.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

namespace stillbit::packing {

/// What the stored sizes of packed rows say of the sections: the sums of parts of a tensor add up to those of the
/// whole.
struct PackedSizes {
  std::uint64_t num_bytes = 0;
  std::uint64_t largest_delta = 0;  ///< of any row in its index block (docs/format.md, "Packing 0: packed")

  /// Adds one index block: the sizes of up to kIndexBlockTiles rows, each `minimum` at least.
  void add_block(std::span<const std::uint32_t> sizes, std::uint64_t minimum) noexcept {
    std::uint64_t delta = 0;
    for (const std::uint32_t size : sizes) {
      largest_delta = std::max(largest_delta, delta);
      delta += size - minimum;
    }
    num_bytes += delta + sizes.size() * minimum;
  }

  /// Adds other index blocks.
  void add(const PackedSizes& other) noexcept {
    num_bytes += other.num_bytes;
    largest_delta = std::max(largest_delta, other.largest_delta);
  }

  /// Fills in the fields of a packed payload's header whose rows have these sizes.
  void describe(format::PayloadHeader& header, std::uint64_t minimum) const noexcept {
    const std::uint64_t num_rows = header.stored_tiles().num_rows;
    header.row_unit = minimum;
    header.rows_bytes = num_bytes;
    header.overflow_bytes = 0;
    const bool all_equal = num_bytes == num_rows * minimum;
    header.index_bits = all_equal ? 0 : static_cast<std::uint8_t>(std::bit_width(largest_delta | 1));
    header.index_bytes = format::index_bytes_for(num_rows, header.index_bits);
  }
};

}  // namespace stillbit::packing
