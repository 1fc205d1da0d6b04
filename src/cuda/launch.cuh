#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/launch.hpp"
#include "warp/with_word.hpp"

#include <cuda_runtime_api.h>

// What the shells of kernels have in common.

namespace stillbit::cuda {

/// What of a launch's memory is a warp's own.
struct WarpMemory {
  std::byte* scratch = nullptr;  ///< kScratchBytes
  std::byte* items = nullptr;    ///< an item for each stage
  std::byte* stages = nullptr;
  std::byte* work = nullptr;  ///< launch.work_bytes
};

/// The part of the block's shared memory, and of the workspace where stages are there, that this warp has.
template <Staging kStaging>
__device__ __forceinline__ WarpMemory memory_of_warp(const Launch& launch, std::byte* shared, std::byte* workspace) {
  const unsigned number = threadIdx.x / warp::kLanes;
  std::byte* const own = shared + number * (launch.shared_bytes / launch.num_warps);
  WarpMemory memory{own, own + warp::kScratchBytes, own + warp_overhead_bytes(launch.num_stages)};
  const std::uint64_t stages_bytes = std::uint64_t{launch.num_stages} * launch.stage_bytes;
  if constexpr (kStaging == Staging::kGlobal) {
    const std::uint64_t warp_bytes = stages_bytes + launch.work_bytes;
    memory.stages = workspace + (std::uint64_t{blockIdx.x} * launch.num_warps + number) * warp_bytes;
  }
  memory.work = memory.stages + stages_bytes;
  return memory;
}

/// Of this warp, among those of all blocks.
__device__ __forceinline__ std::uint64_t warp_number(const Launch& launch) {
  return std::uint64_t{blockIdx.x} * launch.num_warps + threadIdx.x / warp::kLanes;
}

__device__ __forceinline__ std::uint64_t num_warps(const Launch& launch) {
  return std::uint64_t{launch.num_blocks} * launch.num_warps;
}

/// Puts a job on a stream: the kernel for stages in shared memory, or the one for stages in the workspace.
template <class Job>
cudaError_t launch(void (*in_shared)(Job), void (*in_workspace)(Job), const Job& job, cudaStream_t stream) {
  const auto kernel = job.launch.workspace_bytes == 0 ? in_shared : in_workspace;
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(job.launch.shared_bytes));
  if (error != cudaSuccess) return error;
  kernel<<<job.launch.num_blocks, job.launch.num_warps * warp::kLanes, job.launch.shared_bytes, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace stillbit::cuda
