#include "cuda/launch.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace stillbit::cuda {
namespace {

constexpr DeviceLimits kDevices[] = {
    {.num_sms = 132, .shared_bytes_per_block = 227 * 1024},  // Hopper
    {.num_sms = 108, .shared_bytes_per_block = 163 * 1024},  // Ampere
    {.num_sms = 1, .shared_bytes_per_block = 48 * 1024},     // what every GPU has
};
constexpr Policy kPolicies[] = {kLinkPolicy,
                                kMemoryPolicy,
                                {.max_sms = 1, .num_warps = 1, .num_stages = 1},
                                {.num_warps = 5, .num_stages = 3},
                                {.max_sms = 1000, .num_warps = 1000, .num_stages = 1000},
                                {.num_warps = 0, .num_stages = 0}};
constexpr std::uint64_t kItems[] = {1, 2, 31, 32, 33, 1000, 12'345, std::uint64_t{1} << 40};
constexpr std::uint32_t kStageBytes[] = {64, 112, 592, 4'176, 16'464, 65'616, 262'224, 1'048'656, 300'000'000};

constexpr std::uint32_t kWorkBytes[] = {0, 3'008, 70'000};

/// Of all warps of a block, with what they have besides.
std::uint64_t stage_bytes_of(const Launch& launch) {
  return launch.num_warps * (std::uint64_t{launch.num_stages} * launch.stage_bytes + launch.work_bytes);
}

template <class Body>
void for_each_job(const Body& body) {
  for (const DeviceLimits& limits : kDevices) {
    for (const Policy& policy : kPolicies) {
      for (const std::uint64_t num_items : kItems) {
        for (const std::uint32_t stage_bytes : kStageBytes) {
          for (const std::uint32_t work_bytes : kWorkBytes) {
            SCOPED_TRACE(::testing::Message()
                         << limits.num_sms << " multiprocessors, " << policy.num_warps << " warps, " << num_items
                         << " items, stages of " << stage_bytes << " and " << work_bytes << " besides");
            const Launch launch = choose_launch(stage_bytes, num_items, limits, policy, work_bytes);
            EXPECT_EQ(launch.work_bytes, work_bytes);
            body(launch, limits, policy, num_items);
            if (::testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST(Launch, KeepsTheLimits) {
  for_each_job([](const Launch& launch, const DeviceLimits& limits, const Policy& policy, std::uint64_t) {
    EXPECT_GE(launch.num_blocks, 1U);
    EXPECT_LE(launch.num_blocks, policy.max_sms == 0 ? limits.num_sms : std::min(policy.max_sms, limits.num_sms));
    EXPECT_GE(launch.num_warps, 1U);
    EXPECT_LE(launch.num_warps, std::clamp(policy.num_warps, 1U, kMaxWarps));
    EXPECT_GE(launch.num_stages, 1U);
    EXPECT_LE(launch.num_stages, std::clamp(policy.num_stages, 1U, warp::kMaxStages));
    EXPECT_GE(launch.batch_items, 1U);
    EXPECT_LE(launch.batch_items, warp::kLanes);
  });
}

TEST(Launch, StagesLieInSharedMemoryOrInTheWorkspace) {
  for_each_job([](const Launch& launch, const DeviceLimits& limits, const Policy&, std::uint64_t) {
    const std::uint64_t overhead = std::uint64_t{launch.num_warps} * warp_overhead_bytes(launch.num_stages);
    EXPECT_LE(launch.shared_bytes, limits.shared_bytes_per_block);
    if (launch.workspace_bytes == 0) {
      EXPECT_EQ(launch.shared_bytes, overhead + stage_bytes_of(launch));
    } else {
      EXPECT_EQ(launch.shared_bytes, overhead);
      EXPECT_EQ(launch.workspace_bytes, launch.num_blocks * stage_bytes_of(launch));
      // No memory but that for a single stage is above the bound.
      EXPECT_LE(launch.workspace_bytes,
                std::max<std::uint64_t>(kMaxWorkspaceBytes, launch.stage_bytes + launch.work_bytes));
    }
  });
}

TEST(Launch, TheWarpsHaveAllItemsAndFewAreSpreadThinly) {
  for_each_job([](const Launch& launch, const DeviceLimits&, const Policy&, std::uint64_t num_items) {
    const std::uint64_t num_batches = (num_items + launch.batch_items - 1) / launch.batch_items;
    // No block without a batch.
    EXPECT_LT(std::uint64_t{launch.num_blocks - 1} * launch.num_warps, num_batches);
    // A warp takes no second item at a time while another has none.
    if (launch.batch_items > 1) {
      const std::uint64_t smaller_batches = (num_items + launch.batch_items - 2) / (launch.batch_items - 1);
      EXPECT_GT(smaller_batches, std::uint64_t{launch.num_blocks} * launch.num_warps);
    }
  });
}

TEST(Launch, SmallJobsTakeOneItemAWarp) {
  const Launch launch = choose_launch(592, 100, kDevices[0], kMemoryPolicy);
  EXPECT_EQ(launch.batch_items, 1U);
  EXPECT_EQ(launch.num_blocks, 7U);  // of 16 warps
  EXPECT_EQ(launch.workspace_bytes, 0U);
}

TEST(Launch, ShortTilesHaveAllWarpsAndStagesOfThePolicy) {
  for (const DeviceLimits& limits : {kDevices[0], kDevices[1]}) {
    const Launch launch = choose_launch(592, 1'000'000, limits, kLinkPolicy);
    EXPECT_EQ(launch.num_blocks, kLinkPolicy.max_sms);
    EXPECT_EQ(launch.num_warps, kLinkPolicy.num_warps);
    EXPECT_EQ(launch.num_stages, kLinkPolicy.num_stages);
    EXPECT_EQ(launch.batch_items, warp::kLanes);
  }
}

TEST(Launch, LongerTilesGiveUpStagesFirstAndThenWarps) {
  const auto launch_of = [](std::uint32_t stage_bytes) {
    return choose_launch(stage_bytes, 1'000'000, kDevices[0], kLinkPolicy);
  };
  const Launch fewer_stages = launch_of(4'176);
  EXPECT_EQ(fewer_stages.num_warps, kLinkPolicy.num_warps);
  EXPECT_LT(fewer_stages.num_stages, kLinkPolicy.num_stages);
  const Launch fewer_warps = launch_of(16'464);
  EXPECT_LT(fewer_warps.num_warps, kLinkPolicy.num_warps);
  EXPECT_EQ(fewer_warps.workspace_bytes, 0U);
  EXPECT_GT(launch_of(65'616).workspace_bytes, 0U);
}

}  // namespace
}  // namespace stillbit::cuda
