// Bags on a GPU: the same bits as on the CPU.

#include "tests/gpu/support.hpp"
#include "tests/support/random_bags.hpp"

#include <algorithm>

namespace stillbit {
namespace {

using namespace testing;

/// Bags in the GPU's memory, with room for their results.
struct BagsOnGpu {
  BagsOnGpu(const CompressedTensor& tensor, const RandomBags& given)
      : index(given.index), offsets(given.offsets), out((given.offsets.size() - 1) * tensor.row_bytes()) {}

  [[nodiscard]] cuda::Bags bags(PoolMode mode) const {
    cuda::Bags bags;
    bags.index = {index.data(), index.size()};
    bags.offsets = {offsets.data(), offsets.size()};
    bags.has_last_offset = true;
    bags.mode = mode;
    return bags;
  }

  OnDevice<std::int64_t> index;
  OnDevice<std::int64_t> offsets;
  OnDevice<std::byte> out;
};

std::vector<std::byte> pooled(const CompressedTensor& tensor, const Bags& bags) {
  std::vector<std::byte> out(bags.num_bags() * tensor.row_bytes());
  tensor.pool(bags, out);
  return out;
}

class GpuPool : public Gpu<::testing::TestWithParam<DType>> {};

TEST_P(GpuPool, EveryCodecPackingAndPlacementGivesTheBagsOfTheCpu) {
  const OwnedTensor raw = make_tensor(GetParam(), {3000, 72}, Values::kOutliers, 1);
  const RandomBags given(3000, 2000, 2);
  const OwnedTensor factors = make_tensor(GetParam(), {given.index.size()}, Values::kNormal, 3);
  const OnDevice<std::byte> d_factors(factors.data);
  for (const Codec codec : kAllCodecs) {
    for (const Packing packing : kAllPackings) {
      const CompressedTensor tensor = compressed(raw, codec, packing);
      const BagsOnGpu on_gpu(tensor, given);
      for (const cuda::Placement placement : kAllPlacements) {
        const cuda::Table table(tensor, {.placement = placement});
        const auto expect_the_same = [&](const cuda::Bags& d_bags, const Bags& bags) {
          table.pool(d_bags, on_gpu.out.data(), stream_);
          table.check(stream_);
          EXPECT_EQ(on_gpu.out.read(), pooled(tensor, bags)) << name(codec) << ' ' << name(packing);
        };
        for (const std::optional<std::uint64_t> padding : {std::optional<std::uint64_t>(), {2}}) {
          for (const PoolMode mode : {PoolMode::kSum, PoolMode::kMean, PoolMode::kMax}) {
            cuda::Bags d_bags = on_gpu.bags(mode);
            Bags bags = given.bags(mode);
            d_bags.padding_index = bags.padding_index = padding;
            expect_the_same(d_bags, bags);
            if (mode != PoolMode::kSum) continue;
            d_bags.weights = d_factors.data();
            bags.weights = factors.data;
            expect_the_same(d_bags, bags);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuPool, ::testing::Values(DType::kF16, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

class GpuBags : public Gpu<> {};

TEST_F(GpuBags, ManyTablesWriteColumnsOfOneResult) {
  constexpr std::uint64_t kTables = 40;  // more than a launch takes
  constexpr std::uint64_t kBags = 100;
  std::vector<CompressedTensor> tensors;
  std::vector<RandomBags> given;
  std::vector<std::unique_ptr<BagsOnGpu>> on_gpu;
  std::vector<std::unique_ptr<cuda::Table>> tables;
  for (std::uint64_t i = 0; i < kTables; ++i) {
    const std::uint64_t num_rows = 500 + 10 * i;
    tensors.push_back(compress(make_tensor(DType::kBF16, {num_rows, 64}, Values::kNormal, i).view()));
    given.emplace_back(num_rows, kBags, i);
    on_gpu.push_back(std::make_unique<BagsOnGpu>(tensors.back(), given.back()));
    tables.push_back(std::make_unique<cuda::Table>(tensors.back()));
  }
  constexpr std::uint64_t kRowBytes = 128;
  const OnDevice<std::byte> d_out(kBags * kTables * kRowBytes);
  std::vector<cuda::PoolRequest> requests;
  for (std::uint64_t i = 0; i < kTables; ++i)
    requests.push_back(
        {tables[i].get(), on_gpu[i]->bags(PoolMode::kSum), d_out.data() + i * kRowBytes, kTables * kRowBytes});
  cuda::pool(requests, stream_);
  for (const auto& table : tables) table->check(stream_);
  const std::vector<std::byte> out = d_out.read();
  for (std::uint64_t i = 0; i < kTables; ++i) {
    const std::vector<std::byte> wanted = pooled(tensors[i], given[i].bags(PoolMode::kSum));
    for (std::uint64_t bag = 0; bag < kBags; ++bag)
      ASSERT_TRUE(std::equal(wanted.data() + bag * kRowBytes, wanted.data() + (bag + 1) * kRowBytes,
                             out.data() + (bag * kTables + i) * kRowBytes))
          << i;
  }
}

TEST_F(GpuBags, AGraphReplaysALookup) {
  const CompressedTensor tensor = compress(make_tensor(DType::kBF16, {5000, 64}, Values::kNormal, 1).view());
  const RandomBags given(5000, 500, 1);
  const BagsOnGpu on_gpu(tensor, given);
  const cuda::Table table(tensor);
  const cuda::Bags bags = on_gpu.bags(PoolMode::kSum);
  // The first launch of a kernel loads its code, which a capture does not allow.
  table.pool(bags, on_gpu.out.data(), stream_);
  table.check(stream_);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
  table.pool(bags, on_gpu.out.data(), stream_);
  ASSERT_CUDA(cudaStreamEndCapture(stream_, &graph));
  ASSERT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  ASSERT_CUDA(cudaMemsetAsync(on_gpu.out.data(), 0, on_gpu.out.size(), stream_));
  ASSERT_CUDA(cudaGraphLaunch(executable, stream_));
  table.check(stream_);
  EXPECT_EQ(on_gpu.out.read(), pooled(tensor, given.bags(PoolMode::kSum)));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(GpuBags, WhatIsWrongIsFoundByCheck) {
  const CompressedTensor tensor = compress(make_tensor(DType::kF32, {500, 16}, Values::kNormal, 1).view());
  const cuda::Table table(tensor);
  RandomBags given(500, 20, 1);
  const auto fault_of = [&](const RandomBags& bags) -> std::string {
    const BagsOnGpu on_gpu(tensor, bags);
    table.pool(on_gpu.bags(PoolMode::kSum), on_gpu.out.data(), stream_);
    try {
      table.check(stream_);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(fault_of(given), "");
  given.index[7] = -1;
  EXPECT_EQ(fault_of(given), "the index at position 7 is out of range: the tensor has 500 rows");
  given.index[7] = 7;
  given.offsets.back() += 1;
  EXPECT_NE(fault_of(given).find("is below the one before, or beyond the index"), std::string::npos);
}

}  // namespace
}  // namespace stillbit
