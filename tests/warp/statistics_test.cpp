// Bits that warps of a GPU count, played on the CPU: the same counts as the CPU's own code gives.

#include "core/bytes.hpp"
#include "statistics/warp.hpp"
#include "tests/support/make_tensor.hpp"
#include "warp/host_warp.hpp"

#include <stillbit/statistics.hpp>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <memory>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::Values;

struct CountSetup {
  std::uint64_t num_warps = 3;
  std::uint64_t part_laps = 64;
  std::uint64_t misalignment = 0;  ///< of the source, from a multiple of 16
};

/// What warps count in a source that ends where they may read no further.
std::vector<std::uint64_t> counted_by_warps(Bytes rows, std::uint64_t row_bytes, const CountSetup& setup = {}) {
  const std::unique_ptr<std::byte[]> memory(new std::byte[rows.size() + setup.misalignment]);
  std::copy(rows.begin(), rows.end(), memory.get() + setup.misalignment);
  std::vector<std::uint64_t> ones(8 * row_bytes);
  const BitCount job{.src = memory.get() + setup.misalignment,
                     .num_rows = rows.size() / row_bytes,
                     .row_bytes = row_bytes,
                     .lap_bytes = lap_bytes_for(row_bytes),
                     .part_laps = setup.part_laps,
                     .ones = ones.data()};
  for (std::uint64_t number = 0; number < setup.num_warps; ++number) {
    warp::HostWarp warp;
    count_bits(warp, job, number, setup.num_warps);
  }
  return ones;
}

std::vector<std::uint64_t> counted(Bytes rows, std::uint64_t row_bytes) {
  BitStatistics statistics(row_bytes);
  statistics.add(rows);
  return statistics.ones();
}

class WarpRowWidths : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(WarpRowWidths, WarpsCountWhatTheCpuCounts) {
  const std::uint64_t row_bytes = GetParam();
  for (const std::uint64_t num_rows : {0, 1, 7, 8, 9, 64, 333}) {
    const auto tensor = make_tensor(DType::kU8, {num_rows, row_bytes}, Values::kRandomBits, num_rows);
    for (std::uint64_t misalignment = 0; misalignment < 5; ++misalignment) {
      EXPECT_EQ(counted_by_warps(tensor.data, row_bytes, {.misalignment = misalignment}),
                counted(tensor.data, row_bytes))
          << num_rows << " rows at " << misalignment;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpRowWidths,
                         ::testing::Values(1, 2, 3, 8, 12, 31, 40, 64, 100, 128, 130, 511, 512, 1000, 1025, 4097));

TEST(WarpStatistics, CountersHoldTheLongestPart) {
  const std::vector<std::byte> ones((kMaxPartLaps + 9) * kStripBytes, std::byte{0xFF});
  const CountSetup setup{.num_warps = 1, .part_laps = kMaxPartLaps};
  EXPECT_EQ(counted_by_warps(ones, kStripBytes, setup), std::vector<std::uint64_t>(8 * kStripBytes, kMaxPartLaps + 9));
}

TEST(WarpStatistics, CountsOfWarpsAddUpWithTheCpus) {
  const auto tensor = make_tensor(DType::kF32, {1000, 10}, Values::kNormal, 1);
  const Bytes rows(tensor.data);
  BitStatistics statistics(40);
  statistics.add(rows.first(40 * 300));
  statistics.merge(BitStatistics(700, counted_by_warps(rows.subspan(40 * 300), 40)));
  EXPECT_EQ(statistics.ones(), counted(rows, 40));
  EXPECT_EQ(statistics.num_rows(), 1000U);
}

RC_GTEST_PROP(WarpStatistics, AnyNumberOfWarpsCountsTheSame, ()) {
  const auto row_bytes = *rc::gen::inRange<std::uint64_t>(1, 700);
  const auto num_rows = *rc::gen::inRange<std::uint64_t>(0, 100);
  const auto tensor = make_tensor(DType::kU8, {num_rows, row_bytes}, Values::kRandomBits, row_bytes);
  const CountSetup setup{.num_warps = *rc::gen::inRange<std::uint64_t>(1, 20),
                         .part_laps = 8 * *rc::gen::inRange<std::uint64_t>(1, 20),
                         .misalignment = *rc::gen::inRange<std::uint64_t>(0, 16)};
  RC_ASSERT(counted_by_warps(tensor.data, row_bytes, setup) == counted(tensor.data, row_bytes));
}

}  // namespace
}  // namespace stillbit
