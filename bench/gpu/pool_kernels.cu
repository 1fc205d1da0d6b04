#include "bench/gpu/pool_kernels.hpp"

namespace stillbit::bench::gpu {
namespace {

constexpr unsigned kThreads = 256;

__device__ std::uint32_t rounded(float sum) {
  return (__float_as_uint(sum) + 0x8000U) >> 16;
}

/// A thread has two neighbouring columns of a bag.
__global__ void sum_rows_kernel(const std::uint32_t* rows, std::uint64_t row_words, std::uint64_t bag_rows,
                                std::uint64_t num_words, std::uint32_t* out) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= num_words) return;
  const std::uint32_t* const row = rows + i / row_words * bag_rows * row_words + i % row_words;
  float low = 0;
  float high = 0;
  for (std::uint64_t r = 0; r < bag_rows; ++r) {
    const std::uint32_t word = row[r * row_words];
    low += __uint_as_float(word << 16);
    high += __uint_as_float(word & 0xFFFF0000U);
  }
  out[i] = rounded(high) << 16 | rounded(low);
}

}  // namespace

cudaError_t sum_rows(const void* rows, std::uint64_t row_bytes, std::uint64_t bag_rows, std::uint64_t num_bags,
                     void* out, cudaStream_t stream) {
  const std::uint64_t num_words = num_bags * row_bytes / 4;
  const auto num_blocks = static_cast<unsigned>((num_words + kThreads - 1) / kThreads);
  sum_rows_kernel<<<num_blocks, kThreads, 0, stream>>>(static_cast<const std::uint32_t*>(rows), row_bytes / 4, bag_rows,
                                                       num_words, static_cast<std::uint32_t*>(out));
  return cudaGetLastError();
}

}  // namespace stillbit::bench::gpu
