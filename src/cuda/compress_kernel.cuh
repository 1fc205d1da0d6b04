#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"
#include "warp/compress.hpp"

namespace stillbit::cuda {

/// The part of the block's shared memory, and of the workspace where stages are there, that a warp has. The last of its
/// stages is where it encodes.
template <Staging kStaging>
__device__ __forceinline__ warp::CompressStages compress_stages_of(const Launch& launch, std::byte* shared,
                                                                   std::byte* workspace) {
  static_assert(sizeof(warp::CompressItem) <= sizeof(warp::Item), "there is room for an item of either kind");
  const unsigned number = threadIdx.x / warp::kLanes;
  const std::uint64_t data_bytes = std::uint64_t{launch.num_stages} * launch.stage_bytes;
  std::byte* const own = shared + number * (launch.shared_bytes / launch.num_warps);
  warp::CompressStages stages;
  stages.stage_bytes = launch.stage_bytes;
  stages.num_stages = launch.num_stages - 1;
  stages.scratch = own;
  stages.items = reinterpret_cast<warp::CompressItem*>(own + warp::kScratchBytes);
  if constexpr (kStaging == Staging::kShared) {
    stages.data = own + warp_overhead_bytes(launch.num_stages);
  } else {
    stages.data = workspace + (std::uint64_t{blockIdx.x} * launch.num_warps + number) * data_bytes;
  }
  stages.output = stages.data + std::uint64_t{stages.num_stages} * launch.stage_bytes;
  return stages;
}

template <class Encoder, Staging kStaging>
__global__ void __launch_bounds__(kMaxWarps* warp::kLanes, 1) compress_kernel(const __grid_constant__ Compression job) {
  extern __shared__ __align__(16) std::byte shared[];
  DeviceWarp<kStaging> warp;
  const std::uint64_t number = std::uint64_t{blockIdx.x} * job.launch.num_warps + threadIdx.x / warp::kLanes;
  warp::compress<Encoder>(warp, job.table, *static_cast<const typename Encoder::Plan*>(job.plan), job.request,
                          compress_stages_of<kStaging>(job.launch, shared, job.workspace), number,
                          std::uint64_t{job.launch.num_blocks} * job.launch.num_warps, job.status);
}

template <class Encoder, Staging kStaging>
cudaError_t launch_compress(const Compression& job, cudaStream_t stream) {
  const auto kernel = compress_kernel<Encoder, kStaging>;
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(job.launch.shared_bytes));
  if (error != cudaSuccess) return error;
  kernel<<<job.launch.num_blocks, job.launch.num_warps * warp::kLanes, job.launch.shared_bytes, stream>>>(job);
  return cudaGetLastError();
}

template <class Encoder>
cudaError_t launch_compress(const Compression& job, cudaStream_t stream) {
  return job.launch.workspace_bytes == 0 ? launch_compress<Encoder, Staging::kShared>(job, stream)
                                         : launch_compress<Encoder, Staging::kGlobal>(job, stream);
}

/// Puts a job of the codec family on a stream.
template <template <class> class Family>
cudaError_t launch_compress(unsigned view_bytes, const Compression& job, cudaStream_t stream) {
  switch (view_bytes) {
    case 1:
      return launch_compress<Family<std::uint8_t>>(job, stream);
    case 2:
      return launch_compress<Family<std::uint16_t>>(job, stream);
    case 4:
      return launch_compress<Family<std::uint32_t>>(job, stream);
    default:
      return launch_compress<Family<std::uint64_t>>(job, stream);
  }
}

}  // namespace stillbit::cuda
