#pragma once

#include "core/checked.hpp"

#include <algorithm>
#include <cstdint>

namespace stillbit::published {

/// Sizes of rows (spec.md). Precondition: row_bytes is a multiple of word_bytes, which is 1, 2, 4 or 8.
struct Layout {
  std::uint64_t row_bytes = 0;
  unsigned word_bytes = 1;

  [[nodiscard]] std::uint64_t num_words() const noexcept { return row_bytes / word_bytes; }

  /// Bytes of the participation bits.
  [[nodiscard]] std::uint64_t participation_bytes() const noexcept {
    return align_up(ceil_div(num_words(), 8), word_bytes);
  }

  /// Bytes of a row whose agreeing words leave out `saved_bits` bits: row_bytes when it stays raw.
  [[nodiscard]] std::uint64_t stored_bytes(std::uint64_t saved_bits) const noexcept {
    const std::uint64_t stream_bytes = align_up(row_bytes - saved_bits / 8, word_bytes);
    return std::min(participation_bytes() + stream_bytes, row_bytes);
  }

  /// Room that encoding one row takes: it writes whole 8-byte words.
  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept { return participation_bytes() + row_bytes + 16; }
};

}  // namespace stillbit::published
