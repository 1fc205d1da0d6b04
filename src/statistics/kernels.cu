#include "cuda/device_warp.cuh"
#include "statistics/kernels.cuh"

#include <algorithm>

namespace stillbit {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kBlocksPerSm = 4;

/// A part ends with 32 counts to be added in memory for each lane: so many laps are worth that.
constexpr std::uint64_t kMinPartLaps = 512;

__global__ void __launch_bounds__(kThreads, kBlocksPerSm) count_bits_kernel(const __grid_constant__ BitCount job) {
  cuda::DeviceWarp<cuda::Staging::kShared> warp;
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  count_bits(warp, job, thread / warp::kLanes, std::uint64_t{gridDim.x} * kThreads / warp::kLanes);
}

}  // namespace

cudaError_t count_bits(BitCount job, const cuda::DeviceLimits& limits, cudaStream_t stream) {
  job.lap_bytes = lap_bytes_for(job.row_bytes);
  const std::uint64_t num_laps = (job.num_rows * job.row_bytes + job.lap_bytes - 1) / job.lap_bytes;
  const std::uint64_t num_strips = (job.lap_bytes + kStripBytes - 1) / kStripBytes;
  const std::uint64_t num_warps = std::uint64_t{limits.num_sms} * kBlocksPerSm * kThreads / warp::kLanes;
  const std::uint64_t parts_of_all_warps = std::max<std::uint64_t>(1, num_warps / num_strips);
  const std::uint64_t wanted = (num_laps + parts_of_all_warps - 1) / parts_of_all_warps;
  job.part_laps = std::clamp((wanted + 7) / 8 * 8, kMinPartLaps, kMaxPartLaps);
  if (num_laps == 0) return cudaSuccess;
  count_bits_kernel<<<limits.num_sms * kBlocksPerSm, kThreads, 0, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace stillbit
