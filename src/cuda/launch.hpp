#pragma once

#include "warp/expand.hpp"

#include <cstdint>

// How many warps do a job, and with how much memory. Plain numbers, decided on the CPU.

namespace stillbit::cuda {

/// What a GPU has.
struct DeviceLimits {
  std::uint32_t num_sms = 0;
  std::uint32_t shared_bytes_per_block = 0;  ///< the most that a block may ask for
};

/// What a job may take.
struct Policy {
  std::uint32_t max_sms = 0;     ///< streaming multiprocessors; 0: all
  std::uint32_t num_warps = 16;  ///< of a multiprocessor, at most kMaxWarps
  std::uint32_t num_stages = 6;  ///< tiles on their way or being expanded, for each warp
};

inline constexpr std::uint32_t kMaxWarps = 16;

/// Over a link to the host: the fewest multiprocessors that a study of bytes in flight expects to fill PCIe 5 with
/// rows of 512 bytes and more (docs/gpu.md), with room to spare for shorter ones.
inline constexpr Policy kLinkPolicy{.max_sms = 16};

/// Within the GPU's memory.
inline constexpr Policy kMemoryPolicy{.num_stages = 4};

/// A job's shape.
struct Launch {
  std::uint32_t num_blocks = 0;
  std::uint32_t num_warps = 0;  ///< of a block
  std::uint32_t num_stages = 0;
  std::uint32_t stage_bytes = 0;
  std::uint32_t batch_items = 0;
  std::uint32_t work_bytes = 0;       ///< of a warp, behind its stages
  std::uint32_t shared_bytes = 0;     ///< of a block
  std::uint64_t workspace_bytes = 0;  ///< where stages are too long for shared memory; else 0

  [[nodiscard]] bool operator==(const Launch&) const = default;
};

/// Bytes of shared memory that a warp takes besides its stages.
[[nodiscard]] constexpr std::uint32_t warp_overhead_bytes(std::uint32_t num_stages) noexcept {
  return warp::kScratchBytes + (num_stages * static_cast<std::uint32_t>(sizeof(warp::Item)) + 15) / 16 * 16;
}

/// The most memory that stages outside shared memory take, unless it is a single one.
inline constexpr std::uint64_t kMaxWorkspaceBytes = std::uint64_t{64} << 20;

/// Each warp has `work_bytes` besides its stages, where those are: a multiple of 16. Precondition: the device has at
/// least 48 KiB of shared memory a block, and `num_items` is above 0.
[[nodiscard]] Launch choose_launch(std::uint32_t stage_bytes, std::uint64_t num_items, const DeviceLimits& limits,
                                   const Policy& policy, std::uint32_t work_bytes = 0) noexcept;

}  // namespace stillbit::cuda
