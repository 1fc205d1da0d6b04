#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace stillbit {

/// Element types. The numbers are those of the format; the names those of safetensors.
enum class DType : std::uint8_t {
  kBool = 0,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF16,
  kBF16,
  kF32,
  kF64,
  kC64,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
};

inline constexpr unsigned kNumDTypes = 19;

/// Bytes of one element: 1, 2, 4 or 8.
[[nodiscard]] unsigned num_bytes(DType dtype) noexcept;

/// The safetensors name: "F32", "BF16", "F8_E4M3" …
[[nodiscard]] std::string_view name(DType dtype) noexcept;

/// The dtype of a safetensors name, in upper or lower case; nothing when there is none.
[[nodiscard]] std::optional<DType> dtype_from_name(std::string_view name) noexcept;

}  // namespace stillbit
