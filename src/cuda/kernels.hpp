#pragma once

#include "cuda/launch.hpp"
#include "warp/compress.hpp"
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

/// Rows to be compressed. The launch is choose_launch(compress_stage_bytes, rows, …): the last stage of a warp is where
/// it encodes.
struct Compression {
  warp::SlotTable table;
  warp::CompressRequest request;
  Launch launch;
  const void* plan = nullptr;      ///< at a multiple of 16
  std::byte* workspace = nullptr;  ///< launch.workspace_bytes
  warp::Status* status = nullptr;
};

using Compress = cudaError_t (*)(unsigned view_bytes, const Compression& job, cudaStream_t stream);

/// Fills request.last_writers, whose cells are zeros, for a compression with the same request behind it on the stream.
cudaError_t find_last_writers(const Compression& job, const DeviceLimits& limits, cudaStream_t stream);

}  // namespace stillbit::cuda
