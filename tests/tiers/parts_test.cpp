// What tiers are made of, one by one.

#include "tiers/fair_mutex.hpp"
#include "tiers/frequency_sketch.hpp"
#include "tiers/pace.hpp"
#include "tiers/row_map.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <thread>
#include <vector>

namespace stillbit::tiers {
namespace {

RC_GTEST_PROP(RowMap, IsAMap, ()) {
  const auto num_slots = *rc::gen::inRange<std::uint32_t>(1, 60);
  std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
  RowMap map(num_slots);
  std::map<std::uint32_t, std::uint32_t> model;
  for (int step = 0; step < 400; ++step) {
    const auto row = static_cast<std::uint32_t>(random() % (2 * num_slots));
    const auto found = model.find(row);
    RC_ASSERT(map.find(row, hash_row(row)) == (found == model.end() ? RowMap::kNone : found->second));
    if (found != model.end()) {
      map.erase(row);
      model.erase(found);
    } else if (model.size() < num_slots) {
      map.insert(row, static_cast<std::uint32_t>(step));
      model[row] = static_cast<std::uint32_t>(step);
    }
    for (const auto& [other, slot] : model) RC_ASSERT(map.find(other, hash_row(other)) == slot);
  }
}

TEST(FrequencySketch, EstimatesAreNotBelowCountsAndMostlyAreThem) {
  constexpr std::uint64_t kSlots = 2000;
  FrequencySketch sketch(kSlots);
  std::vector<unsigned> counts(4000);
  std::mt19937_64 random(1);
  for (int i = 0; i < 12000; ++i) {
    const std::uint64_t row = random() % counts.size();
    ++counts[row];
    sketch.count(hash_row(row));
  }
  unsigned num_exact = 0;
  for (std::uint64_t row = 0; row < counts.size(); ++row) {
    const unsigned wanted = std::min(counts[row], FrequencySketch::kMaxCount);
    ASSERT_GE(sketch.estimate(hash_row(row)), wanted);
    num_exact += sketch.estimate(hash_row(row)) == wanted ? 1 : 0;
  }
  EXPECT_GT(num_exact, counts.size() * 9 / 10);
}

TEST(FrequencySketch, CountsAreHalvedWhenItIsTime) {
  FrequencySketch sketch(100);
  for (int i = 0; i < 9; ++i) sketch.count(hash_row(7));
  EXPECT_FALSE(sketch.note(999));
  sketch.halve();
  EXPECT_EQ(sketch.estimate(hash_row(7)), 9U);
  EXPECT_TRUE(sketch.note(1));
  sketch.halve();
  EXPECT_EQ(sketch.estimate(hash_row(7)), 4U);
  EXPECT_FALSE(sketch.note(499));
  EXPECT_TRUE(sketch.note(1));
}

TEST(FairMutex, NeitherReadersNorWritersStarve) {
  FairMutex mutex;
  std::atomic<bool> is_over{false};
  std::uint64_t value = 0;
  std::atomic<std::uint64_t> num_reads{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!is_over) {
        const std::shared_lock lock(mutex);
        const std::uint64_t seen = value;
        std::this_thread::yield();
        EXPECT_EQ(seen, value);
        ++num_reads;
      }
    });
  }
  // Two writers that hardly ever leave the lock alone, and readers that do not either.
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int written = 0; written < 500; ++written) {
        const std::uint64_t reads = num_reads;
        {
          const std::lock_guard lock(mutex);
          ++value;
        }
        while (written % 100 == 99 && num_reads == reads) std::this_thread::yield();
      }
    });
  }
  threads.pop_back();
  threads.pop_back();
  is_over = true;
  threads.clear();
  EXPECT_EQ(value, 1000U);
}

/// How many of 800 pieces are counted, of 100 lookups each of which so many find their row.
int num_counted(Pace& pace, std::uint64_t num_hits) {
  int count = 0;
  for (int piece = 0; piece < 800; ++piece) {
    count += pace.is_counted() ? 1 : 0;
    pace.note(100, num_hits);
  }
  return count;
}

TEST(Pace, CountsAllUntilItHasLearnedAndAFewWhileNothingChanges) {
  Pace pace(100);
  // The first window is one of change; behind it are 20 lookups for each slot.
  const int learning = num_counted(pace, 50);
  EXPECT_GT(learning, 20);
  EXPECT_LT(learning, 200);
  const int settled = num_counted(pace, 50);
  EXPECT_GT(settled, 50);
  EXPECT_LT(settled, 150);
}

TEST(Pace, CountsAllAgainWhenFewerRowsAreFound) {
  Pace pace(2000);
  static_cast<void>(num_counted(pace, 80));
  const int settled = num_counted(pace, 80);
  const int changed = num_counted(pace, 40);
  EXPECT_LT(settled, 200);
  EXPECT_GT(changed, settled + 300);
}

}  // namespace
}  // namespace stillbit::tiers
