// Rows gathered by a GPU are those that the CPU gathers.

#include "tests/gpu/support.hpp"

#include <numeric>
#include <optional>

namespace stillbit {
namespace {

using namespace testing;

class GpuGather : public Gpu<::testing::TestWithParam<DType>> {};

TEST_P(GpuGather, EveryCodecPackingAndPlacementGivesTheRows) {
  for (const Values values : kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{2000, 65}, {1500, 256}, {5000, 3}, {20, 4097}}) {
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 3);
      for (const Codec codec : kAllCodecs) {
        for (const Packing packing : kAllPackings) {
          const CompressedTensor tensor = compressed(raw, codec, packing);
          const auto index = random_rows<std::int64_t>(tensor.num_rows(), 700, 5);
          const std::vector<std::byte> expected = gathered(tensor, index);
          const OnDevice<std::int64_t> d_index(index);
          OnDevice<std::byte> d_out(expected.size());
          for (const cuda::Placement placement : kAllPlacements) {
            const cuda::Table table(tensor, {.placement = placement});
            d_out.fill(0xEE);
            table.gather(d_index.data(), index.size(), d_out.data(), stream_);
            table.check(stream_);
            ASSERT_EQ(d_out.read(), expected)
                << name(codec) << ' ' << name(GetParam()) << ' ' << name(values) << ' ' << name(packing)
                << " placement " << static_cast<int>(placement) << ' ' << table.memory().note;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuGather, ::testing::Values(DType::kF8E4M3, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

class GpuRows : public Gpu<> {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (IsSkipped()) return;
    const OwnedTensor raw = make_tensor(DType::kBF16, {100000, 256}, Values::kNormal, 9);
    made_ = compressed(raw, Codec::kEscape, Packing::kSlotted);
  }
  [[nodiscard]] const CompressedTensor& tensor() const { return *made_; }

 private:
  std::optional<CompressedTensor> made_;
};

TEST_F(GpuRows, ManyRowsWithShortNumbersAndFewMultiprocessors) {
  const auto index = random_rows<std::int32_t>(tensor().num_rows(), 200000, 1);
  const OnDevice<std::int32_t> d_index(index);
  const OnDevice<std::byte> d_out(index.size() * tensor().row_bytes());
  const cuda::Table table(tensor());
  for (const std::uint32_t max_sms : {0U, 1U, 4U}) {
    table.gather(d_index.data(), index.size(), d_out.data(), stream_, {.max_sms = max_sms});
    table.check(stream_);
    ASSERT_EQ(d_out.read(), gathered(tensor(), index)) << max_sms;
  }
}

TEST_F(GpuRows, PositionsPermuteTheResult) {
  const auto index = random_rows<std::int64_t>(tensor().num_rows(), 5000, 2);
  std::vector<std::int64_t> positions(index.size());
  std::iota(positions.rbegin(), positions.rend(), 0);
  const OnDevice<std::int64_t> d_index(index);
  const OnDevice<std::int64_t> d_positions(positions);
  const OnDevice<std::byte> d_out(index.size() * tensor().row_bytes());
  const cuda::Table table(tensor());
  table.gather(d_index.data(), index.size(), d_out.data(), stream_, {.positions = d_positions.data()});
  table.check(stream_);
  EXPECT_EQ(d_out.read(), gathered(tensor(), std::vector<std::int64_t>(index.rbegin(), index.rend())));
}

TEST_F(GpuRows, AnOutputNeedNotBeAligned) {
  const auto index = random_rows<std::int64_t>(tensor().num_rows(), 1000, 3);
  const OnDevice<std::int64_t> d_index(index);
  const std::vector<std::byte> expected = gathered(tensor(), index);
  const cuda::Table table(tensor());
  for (const std::size_t offset : {1U, 2U, 4U, 8U, 15U}) {
    OnDevice<std::byte> d_out(expected.size() + 32);
    d_out.fill(0x5A);
    table.gather(d_index.data(), index.size(), d_out.data() + offset, stream_);
    table.check(stream_);
    std::vector<std::byte> whole(expected.size() + 32, std::byte{0x5A});
    std::copy(expected.begin(), expected.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset));
    ASSERT_EQ(d_out.read(), whole) << offset;
  }
}

TEST_F(GpuRows, AGraphReplaysAGather) {
  const cuda::Table table(tensor());
  const OnDevice<std::int64_t> d_index(random_rows<std::int64_t>(tensor().num_rows(), 4096, 4));
  OnDevice<std::byte> d_out(d_index.size() * tensor().row_bytes());
  // The first launch of a kernel loads its code, which a capture does not allow.
  table.gather(d_index.data(), d_index.size(), d_out.data(), stream_);
  table.check(stream_);

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
  table.gather(d_index.data(), d_index.size(), d_out.data(), stream_);
  ASSERT_CUDA(cudaStreamEndCapture(stream_, &graph));
  ASSERT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (std::uint64_t seed = 10; seed < 13; ++seed) {
    const auto index = random_rows<std::int64_t>(tensor().num_rows(), d_index.size(), seed);
    ASSERT_CUDA(cudaMemcpy(d_index.data(), index.data(), index.size() * 8, cudaMemcpyHostToDevice));
    d_out.fill(0);
    ASSERT_CUDA(cudaGraphLaunch(executable, stream_));
    table.check(stream_);
    ASSERT_EQ(d_out.read(), gathered(tensor(), index)) << seed;
  }
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(GpuRows, StreamsGatherAtTheSameTime) {
  const cuda::Table table(tensor());
  constexpr std::size_t kStreams = 4;
  std::vector<cudaStream_t> streams(kStreams);
  std::vector<std::unique_ptr<OnDevice<std::int64_t>>> d_index;
  std::vector<std::unique_ptr<OnDevice<std::byte>>> d_out;
  for (std::size_t i = 0; i < kStreams; ++i) {
    ASSERT_CUDA(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
    d_index.push_back(
        std::make_unique<OnDevice<std::int64_t>>(random_rows<std::int64_t>(tensor().num_rows(), 20000, 20 + i)));
    d_out.push_back(std::make_unique<OnDevice<std::byte>>(20000 * tensor().row_bytes()));
  }
  for (std::size_t i = 0; i < kStreams; ++i) table.gather(d_index[i]->data(), 20000, d_out[i]->data(), streams[i]);
  for (std::size_t i = 0; i < kStreams; ++i) {
    table.check(streams[i]);
    EXPECT_EQ(d_out[i]->read(), gathered(tensor(), d_index[i]->read())) << i;
    EXPECT_CUDA(cudaStreamDestroy(streams[i]));
  }
}

TEST_F(GpuRows, RowsTooLongForSharedMemory) {
  const OwnedTensor raw = make_tensor(DType::kF32, {64, 16384}, Values::kNormal, 8);
  for (const Codec codec : {Codec::kWindow, Codec::kEscape, Codec::kIbp}) {
    const CompressedTensor tensor = compressed(raw, codec, Packing::kSlotted);
    const auto index = random_rows<std::int64_t>(tensor.num_rows(), 300, 6);
    const OnDevice<std::int64_t> d_index(index);
    const OnDevice<std::byte> d_out(index.size() * tensor.row_bytes());
    const cuda::Table table(tensor);
    table.gather(d_index.data(), index.size(), d_out.data(), stream_);
    table.check(stream_);
    ASSERT_EQ(d_out.read(), gathered(tensor, index)) << name(codec);
  }
}

TEST_F(GpuRows, NoRowsAreNoWork) {
  const cuda::Table table(tensor());
  table.gather(static_cast<const std::int64_t*>(nullptr), 0, nullptr, stream_);
  table.check(stream_);
}

}  // namespace
}  // namespace stillbit
