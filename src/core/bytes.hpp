#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace stillbit {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and so must the machine be");

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// Always inline: code compiled for one instruction set must not be the copy that the linker keeps for all.

/// Reads a T from bytes of any alignment. Precondition: sizeof(T) bytes are readable.
template <class T>
[[nodiscard, gnu::always_inline]] inline T load(const std::byte* src) noexcept {
  T value;
  std::memcpy(&value, src, sizeof(T));
  return value;
}

/// Writes a T to bytes of any alignment. Precondition: sizeof(T) bytes are writable.
template <class T>
[[gnu::always_inline]] inline void store(std::byte* dst, T value) noexcept {
  std::memcpy(dst, &value, sizeof(T));
}

}  // namespace stillbit
