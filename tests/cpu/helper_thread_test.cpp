#include "cpu/helper_thread.hpp"

#include "cpu/parallel.hpp"

#include <gtest/gtest.h>

#include <sched.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

namespace stillbit::cpu {
namespace {

/// The processors that a helper may use.
cpu_set_t processors_of_helper() {
  const auto found = std::make_shared<std::promise<cpu_set_t>>();  // which the helper may still be about to leave
  start_helper([found] {
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof(set), &set);
    found->set_value(set);
  });
  return found->get_future().get();
}

TEST(HelperThread, MayRunWhereItsMakerMay) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(all), &all), 0);
  const cpu_set_t found = processors_of_helper();
  EXPECT_TRUE(CPU_EQUAL(&found, &all));
}

TEST(HelperThread, IsMadeWhereThereIsOneProcessor) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(all), &all), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (unsigned i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  const cpu_set_t found = processors_of_helper();
  EXPECT_EQ(::sched_setaffinity(0, sizeof(all), &all), 0);
  EXPECT_TRUE(CPU_EQUAL(&found, &one));
}

TEST(ParallelFor, DoesEveryTaskOnceWithMoreThreadsThanProcessors) {
  constexpr unsigned kNumThreads = 9;
  std::vector<std::atomic<int>> done(1000);
  std::atomic<bool> is_worker_known{true};
  const Result<void> result = parallel_for(done.size(), kNumThreads, [&](std::uint64_t task, unsigned worker) {
    if (worker >= kNumThreads) is_worker_known = false;
    ++done[task];
    return Result<void>();
  });
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(is_worker_known);
  for (const auto& count : done) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace stillbit::cpu
