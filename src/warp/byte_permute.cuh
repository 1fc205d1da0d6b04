#pragma once

#include <cstdint>

namespace stillbit::warp::ptx {

/// The compiler's own name for this instruction masks the selector first.
__device__ __forceinline__ std::uint32_t byte_permute(std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
  std::uint32_t picked;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(picked) : "r"(low), "r"(high), "r"(selector));
  return picked;
}

}  // namespace stillbit::warp::ptx
