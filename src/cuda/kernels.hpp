#pragma once

#include "cuda/launch.hpp"
#include "warp/expand.hpp"

#include <cuda_runtime_api.h>

namespace stillbit::cuda {

/// Tiles to be expanded. All pointers are to memory that the GPU reads: its own, or the host's where that is pinned.
struct Expansion {
  warp::Table table;
  warp::Request request;
  Launch launch;
  const void* plan = nullptr;
  std::byte* workspace = nullptr;  ///< launch.workspace_bytes
  warp::Status* status = nullptr;
};

/// Puts a job on a stream: one for each codec.
using Expand = cudaError_t (*)(unsigned view_bytes, const Expansion& job, cudaStream_t stream);

}  // namespace stillbit::cuda
