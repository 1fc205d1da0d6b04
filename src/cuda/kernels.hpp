#pragma once

#include "cuda/launch.hpp"
#include "warp/compress.hpp"
#include "warp/expand.hpp"
#include "warp/pool.hpp"

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

/// Tables of one launch. They are among its parameters, so that nothing has to be moved to the GPU before: 8 KB of the
/// 32 KB that there may be.
inline constexpr std::uint32_t kMaxPooledTables = 32;

/// Bags to be pooled, of tables of one codec and words of one size. The launch is choose_launch(longest stage, bags, …,
/// memory.num_bytes()).
struct BagJob {
  warp::BagTable tables[kMaxPooledTables];
  std::uint32_t num_tables = 0;
  std::uint64_t num_batches = 0;
  warp::BagMemory memory;
  Launch launch;
  std::byte* workspace = nullptr;  ///< launch.workspace_bytes
};

using Pool = cudaError_t (*)(unsigned view_bytes, const BagJob& job, cudaStream_t stream);

/// Fills request.last_writers, whose cells are zeros, for a compression with the same request behind it on the stream.
cudaError_t find_last_writers(const Compression& job, const DeviceLimits& limits, cudaStream_t stream);

}  // namespace stillbit::cuda
