#pragma once

#include "cuda/launch.hpp"
#include "statistics/warp.hpp"

#include <cuda_runtime_api.h>

namespace stillbit {

/// Counts the ones of each bit of a row. `job` says what and where; how it is dealt out is decided here.
cudaError_t count_bits(BitCount job, const cuda::DeviceLimits& limits, cudaStream_t stream);

}  // namespace stillbit
