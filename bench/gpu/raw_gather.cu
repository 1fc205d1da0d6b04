#include "bench/gpu/bulk_copy.cuh"
#include "bench/gpu/raw_gather.hpp"
#include "cuda/device_warp.cuh"
#include "warp/expand.hpp"

#include <algorithm>
#include <bit>

namespace stillbit::bench::gpu {
namespace {

constexpr unsigned kLanes = warp::kLanes;
constexpr unsigned kMaxWarps = 16;
constexpr unsigned kMaxDepth = 8;
/// Two blocks of loads are on a multiprocessor.
constexpr unsigned kLoadThreads = 512;
constexpr unsigned kLoadBlocks = 2;
/// Of shared memory, besides the rings: the barriers of bulk copies.
constexpr std::uint32_t kBarrierBytes = kMaxWarps * kMaxDepth * 8;

template <unsigned kDepth>
__global__ void __launch_bounds__(kLoadThreads, kLoadBlocks) load_rows(const RawGather job, unsigned pieces_log2) {
  const std::uint64_t num_pieces = job.num_index << pieces_log2;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kLoadThreads;
  for (std::uint64_t first = std::uint64_t{blockIdx.x} * kLoadThreads + threadIdx.x; first < num_pieces;
       first += kDepth * stride) {
    uint4 pieces[kDepth];
#pragma unroll
    for (unsigned i = 0; i < kDepth; ++i) {
      const std::uint64_t piece = first + i * stride;
      if (piece >= num_pieces) continue;
      const std::uint64_t row = static_cast<std::uint64_t>(job.index[piece >> pieces_log2]);
      const std::uint64_t within = piece & ((std::uint64_t{1} << pieces_log2) - 1);
      pieces[i] = cuda::ptx::load_16_streaming(job.rows + ((row << pieces_log2) + within) * 16);
    }
#pragma unroll
    for (unsigned i = 0; i < kDepth; ++i) {
      const std::uint64_t piece = first + i * stride;
      if (piece < num_pieces) reinterpret_cast<uint4*>(job.out)[piece] = pieces[i];
    }
  }
}

/// A warp's items: rows of the index, as many apart as there are warps. Its lanes read the index for the next 32.
class Items {
 public:
  __device__ Items(const RawGather& job, unsigned num_warps)
      : job_(job),
        stride_(std::uint64_t{gridDim.x} * num_warps),
        first_(std::uint64_t{blockIdx.x} * num_warps + threadIdx.x / kLanes),
        count_(first_ < job.num_index ? (job.num_index - first_ + stride_ - 1) / stride_ : 0) {}

  [[nodiscard]] __device__ std::uint64_t count() const { return count_; }

  /// For i = 0, 1 … in turn, by all lanes.
  [[nodiscard]] __device__ const std::byte* src(std::uint64_t i) {
    const unsigned lane = threadIdx.x % kLanes;
    if (i % kLanes == 0 && i + lane < count_) ahead_ = job_.index[first_ + (i + lane) * stride_];
    const std::int64_t row = __shfl_sync(~0U, ahead_, static_cast<int>(i % kLanes));
    return job_.rows + static_cast<std::uint64_t>(row) * job_.row_bytes;
  }
  [[nodiscard]] __device__ std::byte* dst(std::uint64_t i) const {
    return job_.out + (first_ + i * stride_) * job_.row_bytes;
  }

 private:
  const RawGather& job_;
  std::uint64_t stride_;
  std::uint64_t first_;
  std::uint64_t count_;
  std::int64_t ahead_ = 0;
};

template <Fetch kFetch>
__device__ __forceinline__ void copy_16(std::byte* shared, const std::byte* global) {
  if constexpr (kFetch == Fetch::kSectorCopies) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
  } else {
    cuda::ptx::copy_16_async(shared, global);
  }
}

template <Fetch kFetch>
__global__ void __launch_bounds__(kMaxWarps* kLanes, 1) copy_rows(const RawGather job, unsigned num_warps) {
  extern __shared__ __align__(128) std::byte shared[];
  constexpr std::uint32_t kStepBytes = kLanes * 16;
  const cuda::DeviceWarp<cuda::Staging::kShared> warp;
  const unsigned lane = threadIdx.x % kLanes;
  const auto row_bytes = static_cast<std::uint32_t>(job.row_bytes);
  std::byte* const ring = shared + threadIdx.x / kLanes * job.depth * row_bytes;
  Items items(job, num_warps);
  const auto request = [&](std::uint64_t i) {
    if (i < items.count()) {
      const std::byte* const src = items.src(i);
      std::byte* const stage = ring + i % job.depth * row_bytes;
      const auto within_line =
          kFetch == Fetch::kPlainCopies
              ? 0U
              : static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(src) % warp::kLineBytes);
      for (std::uint32_t step = 0; step < row_bytes + within_line; step += kStepBytes) {
        const std::uint32_t at = step + lane * 16 - within_line;  // in front of the row a large number
        if (at < row_bytes) copy_16<kFetch>(stage + at, src + at);
      }
    }
    warp.commit_copies();
  };
  for (unsigned i = 0; i < job.depth; ++i) request(i);
  for (std::uint64_t i = 0; i < items.count(); ++i) {
    warp.wait_copies(job.depth - 1);
    const std::byte* const stage = ring + i % job.depth * row_bytes;
    std::byte* const dst = items.dst(i);
    for (std::uint32_t at = lane * 16; at < row_bytes; at += kStepBytes)
      *reinterpret_cast<uint4*>(dst + at) = *reinterpret_cast<const uint4*>(stage + at);
    warp.sync();  // the stage is free again
    request(i + job.depth);
  }
}

/// One lane of a warp has it all done.
__global__ void __launch_bounds__(kMaxWarps* kLanes, 1) bulk_copy_rows(const RawGather job, unsigned num_warps) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) std::byte shared[];
  const unsigned number = threadIdx.x / kLanes;
  const bool is_leader = threadIdx.x % kLanes == 0;
  const auto row_bytes = static_cast<std::uint32_t>(job.row_bytes);
  auto* const barriers = reinterpret_cast<std::uint64_t*>(shared) + number * kMaxDepth;
  std::byte* const ring = shared + kBarrierBytes + number * job.depth * row_bytes;
  Items items(job, num_warps);
  if (is_leader) {
    for (unsigned i = 0; i < job.depth; ++i) bulk::init_barrier(barriers + i);
    bulk::fence();
  }
  const auto request = [&](std::uint64_t i) {
    if (i >= items.count()) return;
    const std::byte* const src = items.src(i);
    const unsigned slot = static_cast<unsigned>(i % job.depth);
    if (is_leader) bulk::copy_in(ring + slot * row_bytes, src, row_bytes, barriers + slot);
  };
  for (unsigned i = 0; i < job.depth; ++i) request(i);
  for (std::uint64_t i = 0; i < items.count(); ++i) {
    const unsigned slot = static_cast<unsigned>(i % job.depth);
    if (is_leader) {
      bulk::wait(barriers + slot, static_cast<std::uint32_t>(i / job.depth % 2));
      bulk::copy_out(items.dst(i), ring + slot * row_bytes, row_bytes);
      bulk::wait_until_read<1>();  // the stage before is free again
    }
    __syncwarp();
    if (i > 0) request(i - 1 + job.depth);
  }
  if (is_leader) bulk::wait_until_written();
#endif
}

std::uint32_t num_warps_of(const RawGather& job, std::uint32_t shared_bytes) {
  const std::uint64_t fitting = (shared_bytes - kBarrierBytes) / (job.depth * job.row_bytes);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(fitting, 1, kMaxWarps));
}

cudaError_t launch_loads(const RawGather& job, cudaStream_t stream) {
  const auto pieces_log2 = static_cast<unsigned>(std::countr_zero(job.row_bytes / 16));
  const auto launch = [&](auto kernel) {
    kernel<<<kLoadBlocks * job.num_sms, kLoadThreads, 0, stream>>>(job, pieces_log2);
    return cudaGetLastError();
  };
  switch (job.depth) {
    case 1:
      return launch(load_rows<1>);
    case 2:
      return launch(load_rows<2>);
    case 4:
      return launch(load_rows<4>);
    default:
      return launch(load_rows<8>);
  }
}

}  // namespace

std::uint64_t bytes_in_flight(const RawGather& job, std::uint32_t shared_bytes) {
  if (job.fetch == Fetch::kLoads) return std::uint64_t{kLoadBlocks} * kLoadThreads * job.depth * 16;
  return num_warps_of(job, shared_bytes) * job.depth * job.row_bytes;
}

bool can_gather_raw(Fetch fetch) {
  int device = 0;
  int major = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) return false;
  return fetch != Fetch::kBulkCopies || major >= 9;
}

cudaError_t gather_raw(const RawGather& job, std::uint32_t shared_bytes, cudaStream_t stream) {
  if (job.fetch == Fetch::kLoads) return launch_loads(job, stream);
  const std::uint32_t num_warps = num_warps_of(job, shared_bytes);
  const auto launch = [&](auto kernel) {
    const auto block_bytes = static_cast<std::uint32_t>(kBarrierBytes + num_warps * job.depth * job.row_bytes);
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(block_bytes));
    if (error != cudaSuccess) return error;
    kernel<<<job.num_sms, num_warps * kLanes, block_bytes, stream>>>(job, num_warps);
    return cudaGetLastError();
  };
  switch (job.fetch) {
    case Fetch::kCopies:
      return launch(copy_rows<Fetch::kCopies>);
    case Fetch::kPlainCopies:
      return launch(copy_rows<Fetch::kPlainCopies>);
    case Fetch::kSectorCopies:
      return launch(copy_rows<Fetch::kSectorCopies>);
    default:
      return launch(bulk_copy_rows);
  }
}

}  // namespace stillbit::bench::gpu
