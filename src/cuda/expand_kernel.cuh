#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"
#include "cuda/launch.cuh"
#include "warp/expand.hpp"

namespace stillbit::cuda {

template <class Codec, Staging kStaging>
__global__ void __launch_bounds__(kMaxWarps* warp::kLanes, 1) expand_kernel(const __grid_constant__ Expansion job) {
  extern __shared__ __align__(16) std::byte shared[];
  DeviceWarp<kStaging> warp;
  const WarpMemory memory = memory_of_warp<kStaging>(job.launch, shared, job.workspace);
  const warp::Stages stages{memory.stages, reinterpret_cast<warp::Item*>(memory.items), memory.scratch,
                            job.launch.stage_bytes, job.launch.num_stages};
  warp::expand<Codec>(warp, job.table, *static_cast<const typename Codec::Plan*>(job.plan), job.request, stages,
                      warp_number(job.launch), num_warps(job.launch), job.status);
}

/// Puts a job of a codec on a stream.
template <class Codec>
cudaError_t launch_expand(const Expansion& job, cudaStream_t stream) {
  return launch(expand_kernel<Codec, Staging::kShared>, expand_kernel<Codec, Staging::kGlobal>, job, stream);
}

/// The same for a family of codecs, one for each size of words.
template <template <class> class Family>
cudaError_t launch_expand(unsigned view_bytes, const Expansion& job, cudaStream_t stream) {
  return with_word<Family>(view_bytes, [&]<class Codec>(Codec) { return launch_expand<Codec>(job, stream); });
}

}  // namespace stillbit::cuda
