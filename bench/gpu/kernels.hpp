// Kernels of the benchmark's own.

#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace stillbit::bench::gpu {

/// Reads `in_bytes` and writes `out_bytes`, both multiples of 16 and 16-byte aligned, at the same pace: what expanding
/// the one to the other cannot be faster than. Precondition: 0 < in_bytes < out_bytes × 4.
cudaError_t read_and_write(const void* in, std::uint64_t in_bytes, void* out, std::uint64_t out_bytes,
                           cudaStream_t stream);

/// Adds to *count how many 32-bit words of `out` are not those of the rows that `index` names; without an index of all
/// rows in order. `row_bytes` is a multiple of 4.
cudaError_t count_different(const void* rows, std::uint64_t row_bytes, const std::int64_t* index, const void* out,
                            std::uint64_t num_rows, unsigned long long* count, cudaStream_t stream);

}  // namespace stillbit::bench::gpu
