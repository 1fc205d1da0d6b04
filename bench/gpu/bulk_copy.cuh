// Copies of whole rows by the TMA unit of sm_90 and later.

#pragma once

#include <cstdint>

namespace stillbit::bench::gpu::bulk {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// A barrier that one thread arrives at in each phase, and the bytes that it announces.
__device__ __forceinline__ void init_barrier(std::uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}

/// What was written to shared memory is seen by copies that begin later.
__device__ __forceinline__ void fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Begins a copy to shared memory, which completes the barrier's phase. All addresses and `num_bytes` are multiples of
/// 16.
__device__ __forceinline__ void copy_in(void* shared, const void* global, std::uint32_t num_bytes,
                                        std::uint64_t* barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(num_bytes)
               : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(num_bytes), "r"(shared_address(barrier))
               : "memory");
}

/// Waits for the end of a phase: the first one has parity 0, the next one 1, and so on.
__device__ __forceinline__ void wait(std::uint64_t* barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      "  .reg .pred is_over;\n"
      "again:\n"
      "  mbarrier.try_wait.parity.shared::cta.b64 is_over, [%0], %1;\n"
      "  @!is_over bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

/// Begins a copy from shared memory, a group of its own.
__device__ __forceinline__ void copy_out(void* global, const void* shared, std::uint32_t num_bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(global)),
               "r"(shared_address(shared)), "r"(num_bytes)
               : "memory");
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/// Waits until all copies from shared memory but the last kPending have read what they copy.
template <unsigned kPending>
__device__ __forceinline__ void wait_until_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

/// Waits for all copies from shared memory.
__device__ __forceinline__ void wait_until_written() {
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

#endif

}  // namespace stillbit::bench::gpu::bulk
