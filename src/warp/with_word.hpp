#pragma once

#include <cstdint>

namespace stillbit {

/// Calls `body` with a value of the type that has words of `view_bytes` bytes in family `Family`.
template <template <class> class Family, class Body>
decltype(auto) with_word(unsigned view_bytes, const Body& body) {
  switch (view_bytes) {
    case 1:
      return body(Family<std::uint8_t>());
    case 2:
      return body(Family<std::uint16_t>());
    case 4:
      return body(Family<std::uint32_t>());
    default:
      return body(Family<std::uint64_t>());
  }
}

}  // namespace stillbit
