#pragma once

#include <cstdint>

// Instructions that the compiler has no name for.

namespace stillbit::cuda::ptx {

/// Copies 16 bytes from global to shared memory, past the L1 cache, whole memory lines of 128 bytes at a time into the
/// L2 cache. Both addresses are multiples of 16. It arrives later.
__device__ __forceinline__ void copy_16_async(void* shared, const void* global) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
}

__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most kPending groups of this lane's copies are on their way.
template <unsigned kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Adds to a value that of the lane `distance` below, where there is one. All lanes of the warp take part.
__device__ __forceinline__ std::uint32_t add_from_below(std::uint32_t value, unsigned distance) {
  std::uint32_t sum;
  asm volatile(
      "{\n"
      "  .reg .pred there_is_one;\n"
      "  .reg .u32 below;\n"
      "  shfl.sync.up.b32 below|there_is_one, %1, %2, 0, 0xFFFFFFFF;\n"
      "  @there_is_one add.u32 below, below, %1;\n"
      "  mov.u32 %0, below;\n"
      "}"
      : "=r"(sum)
      : "r"(value), "r"(distance));
  return sum;
}

/// Reads 16 bytes that are not read again, past the L1 cache.
__device__ __forceinline__ uint4 load_16_streaming(const void* global) {
  uint4 value;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(global));
  return value;
}

}  // namespace stillbit::cuda::ptx
