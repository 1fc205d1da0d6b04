// Ways to read raw rows over a link, without a codec: side by side they show what keeps one of them from filling it.

#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace stillbit::bench::gpu {

/// How rows are fetched.
enum class Fetch : std::uint8_t {
  kLoads,        ///< loads of 16 bytes into registers, `depth` of them for each lane; lanes are dealt out over all rows
  kCopies,       ///< as Stillbit does: asynchronous copies of 16 bytes, `depth` rows for each warp; eight lanes ask for
                 ///< a whole line of 128 bytes
  kPlainCopies,  ///< the same, but lane 0 begins where the row does: a line may be asked for twice
  kSectorCopies,  ///< kCopies without the hint that the rest of a line may be fetched, too
  kBulkCopies,    ///< an asynchronous copy of a whole row, and one that writes it, by the TMA unit: from sm_90 on
};

struct RawGather {
  const std::byte* rows = nullptr;  ///< at a multiple of 16
  std::uint64_t row_bytes = 0;      ///< a power of two from 16 to 8192
  const std::int64_t* index = nullptr;
  std::uint64_t num_index = 0;
  std::byte* out = nullptr;  ///< at a multiple of 16
  Fetch fetch = Fetch::kCopies;
  std::uint32_t depth = 0;  ///< 1, 2, 4 or 8; of kBulkCopies 2 or more
  std::uint32_t num_sms = 0;
};

/// Bytes that each multiprocessor has requested and not yet got.
std::uint64_t bytes_in_flight(const RawGather& job, std::uint32_t shared_bytes);

/// Whether this GPU can do it.
bool can_gather_raw(Fetch fetch);

/// Row index[i] becomes row i of `out`. `shared_bytes` is the most that a block may ask for.
cudaError_t gather_raw(const RawGather& job, std::uint32_t shared_bytes, cudaStream_t stream);

}  // namespace stillbit::bench::gpu
