#include "cuda/launch.hpp"

#include <algorithm>

namespace stillbit::cuda {
namespace {

/// With fewer warps a multiprocessor cannot hide that each of its instructions takes several cycles.
constexpr std::uint32_t kMinWarps = 4;
constexpr std::uint32_t kMinStages = 2;

}  // namespace

Launch choose_launch(std::uint32_t stage_bytes, std::uint64_t num_items, const DeviceLimits& limits,
                     const Policy& policy, std::uint32_t work_bytes) noexcept {
  Launch launch;
  launch.stage_bytes = stage_bytes;
  launch.work_bytes = work_bytes;
  launch.num_warps = std::clamp<std::uint32_t>(policy.num_warps, 1, kMaxWarps);
  launch.num_stages = std::clamp<std::uint32_t>(policy.num_stages, 1, warp::kMaxStages);
  launch.num_blocks = policy.max_sms == 0 ? limits.num_sms : std::min(policy.max_sms, limits.num_sms);

  const auto shared_bytes = [&](std::uint32_t num_warps, std::uint32_t num_stages) {
    return num_warps * (warp_overhead_bytes(num_stages) + std::uint64_t{num_stages} * stage_bytes + work_bytes);
  };
  // Tiles on their way fill the link whoever waits for them; warps are needed to expand them.
  while (shared_bytes(launch.num_warps, launch.num_stages) > limits.shared_bytes_per_block) {
    if (launch.num_stages > kMinStages) {
      --launch.num_stages;
    } else if (launch.num_warps > kMinWarps) {
      launch.num_warps /= 2;
    } else {
      break;
    }
  }
  const auto stages_bytes = [&] {
    return launch.num_warps * (std::uint64_t{launch.num_stages} * stage_bytes + work_bytes);
  };
  const bool is_shared = shared_bytes(launch.num_warps, launch.num_stages) <= limits.shared_bytes_per_block;
  if (is_shared) {
    launch.shared_bytes = static_cast<std::uint32_t>(shared_bytes(launch.num_warps, launch.num_stages));
  } else {
    // What is copied to memory outside is waited for: a second stage gains little there.
    while (stages_bytes() > kMaxWorkspaceBytes && launch.num_stages > 1) --launch.num_stages;
    while (stages_bytes() > kMaxWorkspaceBytes && launch.num_warps > 1) launch.num_warps /= 2;
    launch.shared_bytes = launch.num_warps * warp_overhead_bytes(launch.num_stages);
    const std::uint64_t affordable = std::max<std::uint64_t>(1, kMaxWorkspaceBytes / stages_bytes());
    launch.num_blocks = static_cast<std::uint32_t>(std::min<std::uint64_t>(launch.num_blocks, affordable));
  }
  // A small job is spread thinly rather than done by few.
  const std::uint64_t all_warps = std::uint64_t{launch.num_blocks} * launch.num_warps;
  launch.batch_items =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>((num_items + all_warps - 1) / all_warps, 1, warp::kLanes));
  const std::uint64_t num_batches = (num_items + launch.batch_items - 1) / launch.batch_items;
  launch.num_blocks = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(launch.num_blocks, (num_batches + launch.num_warps - 1) / launch.num_warps));
  if (!is_shared) launch.workspace_bytes = launch.num_blocks * stages_bytes();
  return launch;
}

}  // namespace stillbit::cuda
