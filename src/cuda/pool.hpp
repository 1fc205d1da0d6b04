#pragma once

#include "core/result.hpp"
#include "cuda/backend.hpp"

#include <cuda_runtime_api.h>

#include <span>

namespace stillbit::cuda {

/// Pools bags of tables on one GPU: one launch for all tables of a codec, words of one size, and a placement, up to
/// kMaxPooledTables of them.
Result<void> pool(std::span<const PoolJob> jobs, std::uint32_t max_sms, cudaStream_t stream);

}  // namespace stillbit::cuda
