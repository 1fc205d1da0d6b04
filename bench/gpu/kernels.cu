#include "bench/gpu/kernels.hpp"

namespace stillbit::bench::gpu {
namespace {

constexpr unsigned kThreads = 512;
constexpr unsigned kMaxBlocks = 4096;

__global__ void read_and_write_kernel(const uint4* in, std::uint64_t in_per_out, uint4* out, std::uint64_t num_out) {
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kThreads;
#pragma unroll 4
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < num_out; i += stride)
    out[i] = in[i * in_per_out >> 32];
}

__global__ void count_different_kernel(const std::uint32_t* rows, std::uint64_t row_words, const std::int64_t* index,
                                       const std::uint32_t* out, std::uint64_t num_words, unsigned long long* count) {
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kThreads;
  unsigned long long num_different = 0;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < num_words; i += stride) {
    const std::uint64_t row = index == nullptr ? i / row_words : static_cast<std::uint64_t>(index[i / row_words]);
    num_different += rows[row * row_words + i % row_words] != out[i] ? 1 : 0;
  }
  if (num_different != 0) atomicAdd(count, num_different);
}

unsigned num_blocks(std::uint64_t num_items) {
  const std::uint64_t blocks = (num_items + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

}  // namespace

cudaError_t read_and_write(const void* in, std::uint64_t in_bytes, void* out, std::uint64_t out_bytes,
                           cudaStream_t stream) {
  const std::uint64_t num_in = in_bytes / 16;
  const std::uint64_t num_out = out_bytes / 16;
  // Rounded down: the last index stays below num_in.
  const std::uint64_t in_per_out = (num_in << 32) / num_out;
  read_and_write_kernel<<<num_blocks(num_out), kThreads, 0, stream>>>(static_cast<const uint4*>(in), in_per_out,
                                                                      static_cast<uint4*>(out), num_out);
  return cudaGetLastError();
}

cudaError_t count_different(const void* rows, std::uint64_t row_bytes, const std::int64_t* index, const void* out,
                            std::uint64_t num_rows, unsigned long long* count, cudaStream_t stream) {
  const std::uint64_t num_words = num_rows * row_bytes / 4;
  count_different_kernel<<<num_blocks(num_words), kThreads, 0, stream>>>(
      static_cast<const std::uint32_t*>(rows), row_bytes / 4, index, static_cast<const std::uint32_t*>(out), num_words,
      count);
  return cudaGetLastError();
}

}  // namespace stillbit::bench::gpu
