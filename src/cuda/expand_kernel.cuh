#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"
#include "warp/expand.hpp"

namespace stillbit::cuda {

/// The part of the block's shared memory, and of the workspace where stages are there, that a warp has.
template <Staging kStaging>
__device__ __forceinline__ warp::Stages stages_of(const Launch& launch, std::byte* shared, std::byte* workspace) {
  const unsigned number = threadIdx.x / warp::kLanes;
  const std::uint64_t data_bytes = std::uint64_t{launch.num_stages} * launch.stage_bytes;
  std::byte* const own = shared + number * (launch.shared_bytes / launch.num_warps);
  warp::Stages stages;
  stages.stage_bytes = launch.stage_bytes;
  stages.num_stages = launch.num_stages;
  stages.scratch = own;
  stages.items = reinterpret_cast<warp::Item*>(own + warp::kScratchBytes);
  if constexpr (kStaging == Staging::kShared) {
    stages.data = own + warp_overhead_bytes(launch.num_stages);
  } else {
    stages.data = workspace + (std::uint64_t{blockIdx.x} * launch.num_warps + number) * data_bytes;
  }
  return stages;
}

template <class Codec, Staging kStaging>
__global__ void __launch_bounds__(kMaxWarps* warp::kLanes, 1) expand_kernel(const __grid_constant__ Expansion job) {
  extern __shared__ __align__(16) std::byte shared[];
  DeviceWarp<kStaging> warp;
  const std::uint64_t number = std::uint64_t{blockIdx.x} * job.launch.num_warps + threadIdx.x / warp::kLanes;
  warp::expand<Codec>(warp, job.table, *static_cast<const typename Codec::Plan*>(job.plan), job.request,
                      stages_of<kStaging>(job.launch, shared, job.workspace), number,
                      std::uint64_t{job.launch.num_blocks} * job.launch.num_warps, job.status);
}

template <class Codec, Staging kStaging>
cudaError_t launch_expand(const Expansion& job, cudaStream_t stream) {
  const auto kernel = expand_kernel<Codec, kStaging>;
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(job.launch.shared_bytes));
  if (error != cudaSuccess) return error;
  kernel<<<job.launch.num_blocks, job.launch.num_warps * warp::kLanes, job.launch.shared_bytes, stream>>>(job);
  return cudaGetLastError();
}

/// Puts a job of the codec family on a stream.
template <template <class> class Family>
cudaError_t launch_expand(unsigned view_bytes, const Expansion& job, cudaStream_t stream) {
  const auto launch = [&]<class Codec>(Codec) {
    return job.launch.workspace_bytes == 0 ? launch_expand<Codec, Staging::kShared>(job, stream)
                                           : launch_expand<Codec, Staging::kGlobal>(job, stream);
  };
  switch (view_bytes) {
    case 1:
      return launch(Family<std::uint8_t>());
    case 2:
      return launch(Family<std::uint16_t>());
    case 4:
      return launch(Family<std::uint32_t>());
    default:
      return launch(Family<std::uint64_t>());
  }
}

}  // namespace stillbit::cuda
