// How often rows are found in the fast tier, against a simulation that shares nothing with the tiers but what the
// policy is said to do.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <unordered_map>
#include <vector>

namespace stillbit {
namespace {

constexpr std::uint64_t kRows = 20000;
constexpr std::uint64_t kColumns = 16;
constexpr std::uint64_t kLookups = 400000;
constexpr std::uint64_t kBatch = 1000;
constexpr std::uint64_t kLearned = kLookups / 4;  ///< lookups before hits are counted, and that a static choice knows
constexpr std::uint64_t kFastBytes = 70000;       ///< for about 1,100 rows

using Trace = std::vector<std::int64_t>;

/// Row numbers with Zipf's distribution. After every `shift_every` lookups the next 200 rows become the most popular.
Trace zipf(double skew, std::uint64_t shift_every) {
  std::mt19937_64 random(11);
  std::vector<double> sums(kRows);
  double sum = 0;
  for (std::uint64_t rank = 0; rank < kRows; ++rank) sums[rank] = sum += std::pow(static_cast<double>(rank + 1), -skew);
  std::vector<std::int64_t> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), random);
  std::uniform_real_distribution<double> uniform(0, sum);
  Trace trace(kLookups);
  for (std::uint64_t i = 0; i < kLookups; ++i) {
    const auto rank =
        static_cast<std::uint64_t>(std::lower_bound(sums.begin(), sums.end(), uniform(random)) - sums.begin());
    const std::uint64_t shifted = rank + (shift_every == 0 ? 0 : 200 * (i / shift_every));
    trace[i] = rows[shifted % kRows];
  }
  return trace;
}

/// TinyLFU with exact counts, one lookup at a time.
double simulated(const Trace& trace, std::uint64_t num_slots) {
  std::mt19937_64 random(5);
  std::unordered_map<std::int64_t, unsigned> counts;
  std::unordered_map<std::int64_t, std::uint64_t> slots;
  std::vector<std::int64_t> rows;
  std::uint64_t num_counted = 0;
  std::uint64_t num_hits = 0;
  for (std::uint64_t i = 0; i < trace.size(); ++i) {
    const std::int64_t row = trace[i];
    unsigned& count = counts[row];
    count = std::min(count + 1, 15U);
    if (++num_counted >= 10 * num_slots) {
      for (auto& [counted, times] : counts) times /= 2;
      num_counted /= 2;
    }
    if (slots.count(row) > 0) {
      num_hits += i >= kLearned ? 1 : 0;
    } else if (rows.size() < num_slots) {
      slots[row] = rows.size();
      rows.push_back(row);
    } else {
      std::uint64_t victim = random() % num_slots;
      for (int sampled = 1; sampled < 5; ++sampled) {
        const std::uint64_t other = random() % num_slots;
        if (counts[rows[other]] < counts[rows[victim]]) victim = other;
      }
      if (counts[row] < counts[rows[victim]] + 2) continue;
      slots.erase(rows[victim]);
      rows[victim] = row;
      slots[row] = victim;
    }
  }
  return static_cast<double>(num_hits) / static_cast<double>(trace.size() - kLearned);
}

/// What the table's own statistics say of a trace.
double measured(TieredTable& table, const Trace& trace) {
  std::vector<std::byte> out(kBatch * table.row_bytes());
  for (std::uint64_t i = 0; i < trace.size(); i += kBatch) {
    if (i == kLearned) table.reset_statistics();
    table.gather(std::span(trace).subspan(i, kBatch), out, 1);
  }
  EXPECT_EQ(table.statistics().num_lookups(), trace.size() - kLearned);
  return table.statistics().hit_rate();
}

std::vector<std::uint64_t> counts_of(std::span<const std::int64_t> trace) {
  std::vector<std::uint64_t> counts(kRows);
  for (const std::int64_t row : trace) ++counts[static_cast<std::uint64_t>(row)];
  return counts;
}

TieredTable make_table(TierPolicy policy) {
  const auto raw = testing::make_tensor(DType::kBF16, {kRows, kColumns}, testing::Values::kNormal, 1);
  return TieredTable(compress(raw.view(), {.num_threads = 1}), {.fast_bytes = kFastBytes, .policy = policy});
}

TEST(TierPolicies, HitsAreThoseOfASimulationOfThePolicy) {
  for (const double skew : {0.6, 0.9, 1.2}) {
    for (const std::uint64_t shift_every : {0U, 20000U}) {
      const Trace trace = zipf(skew, shift_every);
      TieredTable table = make_table(TierPolicy::kTinyLfu);
      const double found = measured(table, trace);
      const double wanted = simulated(trace, table.statistics().fast.max_rows);
      RecordProperty("skew_" + std::to_string(skew) + (shift_every > 0 ? "_shifting" : ""),
                     std::to_string(found) + " " + std::to_string(wanted));
      EXPECT_NEAR(found, wanted, 0.02) << "skew " << skew << ", shift every " << shift_every;
    }
  }
}

TEST(TierPolicies, FollowADistributionThatShifts) {
  for (const double skew : {0.9, 1.2}) {
    const Trace trace = zipf(skew, 20000);
    TieredTable adaptive = make_table(TierPolicy::kTinyLfu);
    TieredTable fixed = make_table(TierPolicy::kStatic);
    const auto counts = counts_of(std::span(trace).first(kLearned));
    adaptive.place(counts);
    fixed.place(counts);
    EXPECT_GT(measured(adaptive, trace), measured(fixed, trace) + 0.1) << "skew " << skew;
  }
}

TEST(TierPolicies, StaticHoldsTheLargestCounts) {
  const Trace trace = zipf(0.9, 0);
  TieredTable table = make_table(TierPolicy::kStatic);
  const auto counts = counts_of(std::span(trace).first(kLearned));
  table.place(counts);
  const std::uint64_t num_held = table.statistics().fast.num_rows;
  std::vector<std::int64_t> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(), [&](std::int64_t a, std::int64_t b) {
    return counts[static_cast<std::uint64_t>(a)] > counts[static_cast<std::uint64_t>(b)];
  });
  std::vector<bool> is_held(kRows);
  for (std::uint64_t i = 0; i < num_held; ++i) is_held[static_cast<std::uint64_t>(rows[i])] = true;
  const auto num_hits = std::count_if(trace.begin() + kLearned, trace.end(),
                                      [&](std::int64_t row) { return is_held[static_cast<std::uint64_t>(row)]; });
  EXPECT_EQ(num_held, table.statistics().fast.max_rows);
  EXPECT_DOUBLE_EQ(measured(table, trace),
                   static_cast<double>(num_hits) / static_cast<double>(trace.size() - kLearned));
}

}  // namespace
}  // namespace stillbit
