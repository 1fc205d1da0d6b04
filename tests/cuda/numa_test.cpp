#include "cuda/numa.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace stillbit::cuda {
namespace {

using Nodes = std::array<unsigned long, 16>;
constexpr unsigned long kMaxNodes = 8 * sizeof(Nodes);
constexpr int kPolicyPreferred = 1;
constexpr int kPolicyInterleave = 3;

struct Policy {
  int number = 0;
  Nodes nodes{};
  bool operator==(const Policy&) const = default;
};

bool get(Policy& policy) {
  return ::syscall(SYS_get_mempolicy, &policy.number, policy.nodes.data(), kMaxNodes, nullptr, 0UL) == 0;
}

bool set(const Policy& policy) {
  return ::syscall(SYS_set_mempolicy, policy.number, policy.nodes.data(), kMaxNodes) == 0;
}

TEST(Numa, MemoryIsNearANodeForAWhile) {
  Policy first;
  if (!get(first) || !set(first)) GTEST_SKIP() << "the system does not let programs choose memory nodes";
  const Policy before{kPolicyInterleave, {1}};
  ASSERT_TRUE(set(before));
  Policy within;
  Policy after;
  {
    const NearNode near(0);
    EXPECT_TRUE(get(within));
  }
  EXPECT_TRUE(get(after));
  ASSERT_TRUE(set(first));
  EXPECT_EQ(within, (Policy{kPolicyPreferred, {1}}));
  EXPECT_EQ(after, before);
}

TEST(Numa, WithoutANodeNothingChanges) {
  Policy before;
  if (!get(before)) GTEST_SKIP() << "the system does not tell where memory comes from";
  for (const int node : {-1, 5000}) {
    const NearNode near(node);
    Policy within;
    EXPECT_TRUE(get(within));
    EXPECT_EQ(within, before) << node;
  }
}

}  // namespace
}  // namespace stillbit::cuda
