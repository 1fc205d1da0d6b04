#pragma once

#include "core/bytes.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit {

/// A little-endian word of 1, 2, 4 or 8 bytes.
[[nodiscard]] inline std::uint64_t load_word(const std::byte* src, unsigned num_bytes) noexcept {
  switch (num_bytes) {
    case 1:
      return load<std::uint8_t>(src);
    case 2:
      return load<std::uint16_t>(src);
    case 4:
      return load<std::uint32_t>(src);
    default:
      return load<std::uint64_t>(src);
  }
}

}  // namespace stillbit
