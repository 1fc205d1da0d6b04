// What pools rows that have been moved to the GPU: what pooling them as they are expanded is held against.

#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace stillbit::bench::gpu {

/// Sums bags of `bag_rows` rows of bf16 each, back to back, in f32, in order; halves are rounded up, as by `pool`.
/// `row_bytes` is a multiple of 4.
cudaError_t sum_rows(const void* rows, std::uint64_t row_bytes, std::uint64_t bag_rows, std::uint64_t num_bags,
                     void* out, cudaStream_t stream);

}  // namespace stillbit::bench::gpu
