#include "cuda/device_warp.cuh"
#include "cuda/kernels.hpp"

#include <algorithm>

namespace stillbit::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kBlocksPerSm = 8;

__global__ void __launch_bounds__(kThreads) last_writers_kernel(const __grid_constant__ Compression job) {
  DeviceWarp<Staging::kShared> warp;
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  warp::find_last_writers(warp, job.request.last_writers, job.request.index,
                          static_cast<std::uint32_t>(job.request.num_rows), job.table.num_rows, thread / warp::kLanes,
                          std::uint64_t{gridDim.x} * kThreads / warp::kLanes, job.status);
}

}  // namespace

cudaError_t find_last_writers(const Compression& job, const DeviceLimits& limits, cudaStream_t stream) {
  const std::uint64_t wanted = (job.request.num_rows + kThreads - 1) / kThreads;
  const auto num_blocks = static_cast<unsigned>(std::min<std::uint64_t>(wanted, limits.num_sms * kBlocksPerSm));
  last_writers_kernel<<<num_blocks, kThreads, 0, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace stillbit::cuda
