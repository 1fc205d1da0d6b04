#pragma once

#include "format/payload.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>

namespace stillbit::packing {

/// What the stored sizes of packed rows say of the sections: the sums of parts of a tensor add up to those of the
/// whole.
struct PackedSizes {
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

  std::uint64_t num_bytes = 0;
  /// Of any row in its index block, where the index counts the bytes above a codec's minimum (docs/format.md, "Packing
  /// 0: packed").
  std::uint64_t largest_delta = 0;
  std::uint64_t smallest = kUnknown;                                    ///< row
  std::array<std::uint64_t, format::kIndexBlockTiles> latest_starts{};  ///< of the i-th row of any block, in its block

  /// Adds one index block: the sizes of up to kIndexBlockTiles rows, each `minimum` at least.
  void add_block(std::span<const std::uint32_t> sizes, std::uint64_t minimum) noexcept {
    std::uint64_t start = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      largest_delta = std::max(largest_delta, start - i * minimum);
      latest_starts[i] = std::max(latest_starts[i], start);
      smallest = std::min<std::uint64_t>(smallest, sizes[i]);
      start += sizes[i];
    }
    num_bytes += start;
  }

  /// Adds what other parts say.
  void add(const PackedSizes& other) noexcept {
    num_bytes += other.num_bytes;
    largest_delta = std::max(largest_delta, other.largest_delta);
    smallest = std::min(smallest, other.smallest);
    for (std::size_t i = 0; i < latest_starts.size(); ++i)
      latest_starts[i] = std::max(latest_starts[i], other.latest_starts[i]);
  }

  /// Fills in the fields of a packed payload's header whose rows have these sizes, `minimum` at least. Where the
  /// smallest size is known, the index counts the bytes above that one: it is narrower.
  void describe(format::PayloadHeader& header, std::uint64_t minimum) const noexcept {
    const std::uint64_t num_rows = header.stored_tiles().num_rows;
    header.row_unit = smallest == kUnknown ? minimum : smallest;
    header.rows_bytes = num_bytes;
    header.overflow_bytes = 0;
    const bool all_equal = num_bytes == num_rows * header.row_unit;
    header.index_bits = all_equal ? 0 : static_cast<std::uint8_t>(std::bit_width(delta_above(header.row_unit) | 1));
    header.index_bytes = format::index_bytes_for(num_rows, header.index_bits);
  }

 private:
  /// The largest delta in an index that counts the bytes above `unit`.
  [[nodiscard]] std::uint64_t delta_above(std::uint64_t unit) const noexcept {
    if (smallest == kUnknown) return largest_delta;
    std::uint64_t delta = 0;
    for (std::size_t i = 0; i < latest_starts.size() && latest_starts[i] >= i * unit; ++i)
      delta = std::max(delta, latest_starts[i] - i * unit);
    return delta;
  }
};

}  // namespace stillbit::packing
