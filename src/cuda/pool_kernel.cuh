#pragma once

#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"
#include "cuda/launch.cuh"
#include "warp/pool.hpp"

namespace stillbit::cuda {

template <class Codec, Staging kStaging>
__global__ void __launch_bounds__(kMaxWarps* warp::kLanes, 1) pool_kernel(const __grid_constant__ BagJob job) {
  extern __shared__ __align__(16) std::byte shared[];
  DeviceWarp<kStaging> warp;
  const WarpMemory memory = memory_of_warp<kStaging>(job.launch, shared, job.workspace);
  const warp::BagStages stages{memory.stages, memory.scratch,         memory.work,
                               job.memory,    job.launch.stage_bytes, job.launch.num_stages};
  const warp::BagTables tables{job.tables, job.num_tables, job.launch.batch_items, job.num_batches};
  warp::pool<Codec>(warp, tables, stages, warp_number(job.launch), num_warps(job.launch));
}

/// Puts a job of a codec on a stream.
template <class Codec>
cudaError_t launch_pool(const BagJob& job, cudaStream_t stream) {
  return launch(pool_kernel<Codec, Staging::kShared>, pool_kernel<Codec, Staging::kGlobal>, job, stream);
}

/// The same for a family of codecs, one for each size of words.
template <template <class> class Family>
cudaError_t launch_pool(unsigned view_bytes, const BagJob& job, cudaStream_t stream) {
  return with_word<Family>(view_bytes, [&]<class Codec>(Codec) { return launch_pool<Codec>(job, stream); });
}

}  // namespace stillbit::cuda
