// Whole tensors expanded by a GPU.

#include "tests/gpu/support.hpp"

namespace stillbit {
namespace {

using namespace testing;

class GpuDecompress : public Gpu<::testing::TestWithParam<DType>> {};

TEST_P(GpuDecompress, EveryCodecPackingAndPlacementGivesTheTensor) {
  for (const Values values : kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{2000, 65}, {3000, 512}, {9000, 3}, {20, 4097}}) {
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 4);
      const OnDevice<std::byte> d_out(raw.data.size());
      for (const Codec codec : kAllCodecs) {
        for (const Packing packing : kAllPackings) {
          const CompressedTensor tensor = compressed(raw, codec, packing);
          for (const cuda::Placement placement : kAllPlacements) {
            const cuda::Table table(tensor, {.placement = placement});
            table.decompress(d_out.data(), stream_);
            table.check(stream_);
            ASSERT_EQ(d_out.read(), raw.data) << name(codec) << ' ' << name(values) << ' ' << name(packing)
                                              << " placement " << static_cast<int>(placement);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuDecompress, ::testing::Values(DType::kF8E4M3, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

class GpuPipeline : public Gpu<> {};

TEST_F(GpuPipeline, MovesALargeTensorInPieces) {
  // 256 MiB: some ten pieces, so that both buffers are used again.
  const OwnedTensor raw = make_tensor(DType::kBF16, {262144, 512}, Values::kNormal, 11);
  OnDevice<std::byte> d_out(raw.data.size());
  for (const Packing packing : kAllPackings) {
    const CompressedTensor tensor = compressed(raw, Codec::kEscape, packing);
    const cuda::Table table(tensor);
    for (int repetition = 0; repetition < 2; ++repetition) {
      d_out.fill(0);
      table.decompress(d_out.data(), stream_);
      table.check(stream_);
      ASSERT_EQ(d_out.read(), raw.data) << name(packing) << ' ' << repetition;
    }
  }
}

}  // namespace
}  // namespace stillbit
