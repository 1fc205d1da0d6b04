// What the host does to have bags pooled on a GPU: which tables go into one launch, and what is refused.

#include "cuda/pool.hpp"

#include "gpu/warp_table.hpp"
#include "tests/cuda/tables.hpp"
#include "tests/support/random_bags.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace stillbit {
namespace {

using namespace testing;
using cuda::DeviceMemory;
using cuda::DeviceTable;
using cuda::Placement;

/// Bags in the memory of the fake GPU, with room for their results.
struct BagsOnDevice {
  BagsOnDevice(const CompressedTensor& tensor, RandomBags bags)
      : given(std::move(bags)),
        index(DeviceMemory::holding(std::as_bytes(std::span(given.index))).value()),
        offsets(DeviceMemory::holding(std::as_bytes(std::span(given.offsets))).value()),
        out(DeviceMemory::allocate(num_bags() * tensor.row_bytes()).value()) {}

  [[nodiscard]] std::uint64_t num_bags() const { return given.offsets.size() - 1; }

  [[nodiscard]] cuda::PoolJob job(DeviceTable* table, PoolMode mode = PoolMode::kSum) const {
    return {table,
            {.index = index.data(),
             .offsets = offsets.data(),
             .out = out.data(),
             .out_stride = table->row_bytes(),
             .num_index = given.index.size(),
             .num_bags = num_bags(),
             .element = warp::Element::kBF16,
             .pooling = warp_pooling(mode),
             .has_last_offset = true}};
  }

  void expect_pooled(const CompressedTensor& tensor, PoolMode mode = PoolMode::kSum) const {
    std::vector<std::byte> wanted(num_bags() * tensor.row_bytes());
    tensor.pool(given.bags(mode), wanted);
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), out.data()));
  }

  RandomBags given;
  DeviceMemory index;
  DeviceMemory offsets;
  DeviceMemory out;
};

class PoolsOnGpu : public Tables {
 protected:
  void expect_sound(DeviceTable& table) { EXPECT_EQ(table.check(stream_).value().fault, 0U); }
};

TEST_F(PoolsOnGpu, TablesOfAllCodecsAndPlacementsArePooledTogether) {
  struct Part {
    CompressedTensor tensor;
    std::unique_ptr<DeviceTable> table;
    BagsOnDevice bags;
    PoolMode mode;
  };
  std::vector<Part> parts;
  std::vector<cuda::PoolJob> jobs;
  for (const Codec codec :
       {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse, Codec::kDictionary, Codec::kRans}) {
    for (const Placement placement : {Placement::kPinned, Placement::kDevice}) {
      for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
        CompressedTensor tensor = compressed(codec, packing, {700, 100});
        auto table = std::move(table_of(tensor, placement).value());
        BagsOnDevice bags(tensor, RandomBags(700, 40, parts.size()));
        parts.push_back({std::move(tensor), std::move(table), std::move(bags),
                         parts.size() % 2 == 0 ? PoolMode::kSum : PoolMode::kMax});
      }
    }
  }
  for (const Part& part : parts) jobs.push_back(part.bags.job(part.table.get(), part.mode));
  ASSERT_TRUE(cuda::pool(jobs, 0, stream_).ok());
  for (const Part& part : parts) {
    expect_sound(*part.table);
    part.bags.expect_pooled(part.tensor, part.mode);
  }
}

TEST_F(PoolsOnGpu, TablesThatAreAlikeShareALaunchAsFarAsItHoldsThem) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  const BagsOnDevice bags(tensor, RandomBags(700, 20, 1));
  std::vector<cuda::PoolJob> jobs(cuda::kMaxPooledTables, bags.job(table.value().get()));
  const auto num_launches = [&] {
    const std::uint64_t before = FakeRuntime::get().num_enqueued;
    EXPECT_TRUE(cuda::pool(jobs, 0, stream_).ok());
    return FakeRuntime::get().num_enqueued - before;
  };
  EXPECT_EQ(num_launches(), 1U);
  jobs.push_back(jobs[0]);
  EXPECT_EQ(num_launches(), 2U);
  const auto other = table_of(compressed(Codec::kEscape, Packing::kSlotted, {700, 100}), Placement::kPinned);
  jobs[3].table = other.value().get();
  EXPECT_EQ(num_launches(), 2U);
  expect_sound(*table.value());
  expect_sound(*other.value());
}

TEST_F(PoolsOnGpu, NothingIsAllocatedNorWaitedFor) {
  const CompressedTensor tensor = compressed(Codec::kEscape, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  const BagsOnDevice bags(tensor, RandomBags(700, 20, 1));
  const cuda::PoolJob job = bags.job(table.value().get());
  const std::uint64_t before = FakeRuntime::get().num_calls_that_wait;
  ASSERT_TRUE(cuda::pool({&job, 1}, 0, stream_).ok());
  EXPECT_EQ(FakeRuntime::get().num_calls_that_wait, before);
  expect_sound(*table.value());
  bags.expect_pooled(tensor);
}

TEST_F(PoolsOnGpu, RowsTooLongForSharedMemoryAreExpandedInTheGpus) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {30, 30000});
  const auto table = table_of(tensor, Placement::kPinned);
  const auto shorter = table_of(compressed(Codec::kWindow, Packing::kSlotted, {700, 100}), Placement::kPinned);
  const BagsOnDevice bags(tensor, RandomBags(30, 2, 1));
  const BagsOnDevice of_shorter(compressed(Codec::kWindow, Packing::kSlotted, {700, 100}), RandomBags(700, 9, 1));
  const cuda::PoolJob jobs[] = {bags.job(table.value().get()), of_shorter.job(shorter.value().get())};
  for (const std::uint32_t max_sms : {0U, 1U, 132U}) {
    ASSERT_TRUE(cuda::pool(jobs, max_sms, stream_).ok());
    expect_sound(*table.value());
    bags.expect_pooled(tensor);
    of_shorter.expect_pooled(compressed(Codec::kWindow, Packing::kSlotted, {700, 100}));
  }
}

TEST_F(PoolsOnGpu, WhatTheGpuDoesNotReachIsNamedWithItsTable) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  const BagsOnDevice bags(tensor, RandomBags(700, 20, 1));
  const std::vector<std::int64_t> host(100);
  const cuda::PoolJob good = bags.job(table.value().get());
  const auto refusal = [&](const auto& change) {
    cuda::PoolJob jobs[] = {good, good};
    change(jobs[1].request);
    const auto pooled = cuda::pool(jobs, 0, stream_);
    EXPECT_FALSE(pooled.ok());
    return pooled.ok() ? "" : pooled.fault().message;
  };
  EXPECT_EQ(refusal([&](auto& request) { request.index = host.data(); }),
            "table 1: index is in host memory that is not pinned");
  EXPECT_EQ(refusal([&](auto& request) { request.offsets = host.data(); }),
            "table 1: offsets is in host memory that is not pinned");
  EXPECT_EQ(refusal([&](auto& request) { request.weights = bags.index.data() + 1; }),
            "table 1: weights is not aligned to 2 bytes");
  EXPECT_EQ(refusal([&](auto& request) { request.out = nullptr; }).substr(0, 12), "table 1: out");
  EXPECT_EQ(refusal([&](auto& request) { request.num_index = std::uint64_t{1} << 32; }),
            "table 1: an index of 2^32 numbers and more: make it several calls");
}

TEST_F(PoolsOnGpu, WhatIsWrongWithAnIndexIsInTheStatusOfItsTable) {
  const CompressedTensor tensor = compressed(Codec::kIbp, Packing::kSlotted, {700, 100});
  const auto good = table_of(tensor, Placement::kPinned);
  const auto bad = table_of(tensor, Placement::kPinned);
  RandomBags wrong(700, 20, 1);
  wrong.index[5] = 700;
  const BagsOnDevice bags(tensor, RandomBags(700, 20, 1));
  const BagsOnDevice wrong_bags(tensor, wrong);
  const cuda::PoolJob jobs[] = {bags.job(good.value().get()), wrong_bags.job(bad.value().get())};
  ASSERT_TRUE(cuda::pool(jobs, 0, stream_).ok());
  const warp::Status status = bad.value()->check(stream_).value();
  EXPECT_EQ(status.fault, static_cast<std::uint32_t>(warp::Fault::kIndexOutOfRange));
  EXPECT_EQ(status.where, 5U);
  expect_sound(*good.value());
  bags.expect_pooled(tensor);
}

}  // namespace
}  // namespace stillbit
