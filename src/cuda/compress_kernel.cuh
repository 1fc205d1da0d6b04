#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"
#include "cuda/launch.cuh"
#include "warp/compress.hpp"

namespace stillbit::cuda {

template <class Encoder, Staging kStaging>
__global__ void __launch_bounds__(kMaxWarps* warp::kLanes, 1) compress_kernel(const __grid_constant__ Compression job) {
  extern __shared__ __align__(16) std::byte shared[];
  DeviceWarp<kStaging> warp;
  const WarpMemory memory = memory_of_warp<kStaging>(job.launch, shared, job.workspace);
  static_assert(sizeof(warp::CompressItem) <= sizeof(warp::Item), "there is room for an item of either kind");
  // The last stage is where the warp encodes.
  const std::uint32_t num_stages = job.launch.num_stages - 1;
  const warp::CompressStages stages{memory.stages,
                                    reinterpret_cast<warp::CompressItem*>(memory.items),
                                    memory.stages + std::uint64_t{num_stages} * job.launch.stage_bytes,
                                    memory.scratch,
                                    job.launch.stage_bytes,
                                    num_stages};
  warp::compress<Encoder>(warp, job.table, *static_cast<const typename Encoder::Plan*>(job.plan), job.request, stages,
                          warp_number(job.launch), num_warps(job.launch), job.status);
}

/// Puts a job of a codec on a stream.
template <class Encoder>
cudaError_t launch_compress(const Compression& job, cudaStream_t stream) {
  return launch(compress_kernel<Encoder, Staging::kShared>, compress_kernel<Encoder, Staging::kGlobal>, job, stream);
}

/// The same for a family of codecs, one for each size of words.
template <template <class> class Family>
cudaError_t launch_compress(unsigned view_bytes, const Compression& job, cudaStream_t stream) {
  return with_word<Family>(view_bytes, [&]<class Encoder>(Encoder) { return launch_compress<Encoder>(job, stream); });
}

}  // namespace stillbit::cuda
