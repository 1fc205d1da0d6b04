// Rows compressed by a GPU.

#include "tests/gpu/support.hpp"

namespace stillbit {
namespace {

using namespace testing;

std::vector<std::byte> expanded(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  return out;
}

class GpuCompress : public Gpu<::testing::TestWithParam<DType>> {};

TEST_P(GpuCompress, RowsThatAreAppendedComeBackOnBothSides) {
  for (const Values values : kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{2000, 65}, {1500, 256}, {20, 4097}}) {
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 5);
      const OnDevice<std::byte> rows(raw.data);
      const OnDevice<std::byte> out(raw.data.size());
      for (const Codec codec : {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape}) {
        const CompressedTensor tensor = compressed(raw, codec, Packing::kSlotted);
        for (const cuda::Placement placement : {cuda::Placement::kPinned, cuda::Placement::kDevice}) {
          cuda::Table table(
              tensor,
              {.placement = placement, .capacity_rows = shape[0], .overflow_bytes = raw.data.size(), .is_empty = true});
          table.append(rows.data(), shape[0] / 3, stream_);
          table.append(rows.data() + shape[0] / 3 * table.row_bytes(), shape[0] - shape[0] / 3, stream_);
          table.decompress(out.data(), stream_);
          table.check(stream_);
          ASSERT_EQ(out.read(), raw.data) << name(codec) << ' ' << name(values);
          ASSERT_EQ(expanded(table.tensor(stream_)), raw.data) << name(codec) << ' ' << name(values);
        }
      }
    }
  }
}

TEST_P(GpuCompress, RowsThatAreUpdatedAreThoseOfTheCpu) {
  const OwnedTensor raw = make_tensor(GetParam(), {3000, 100}, Values::kOutliers, 6);
  const OwnedTensor fresh = make_tensor(GetParam(), {5000, 100}, Values::kRandomBits, 7);
  const auto index = random_rows<std::int64_t>(3000, 5000, 8);  // many rows are named twice
  const OnDevice<std::int64_t> d_index(index);
  const OnDevice<std::byte> rows(fresh.data);
  for (const Codec codec : {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape}) {
    CompressedTensor expected = compressed(raw, codec, Packing::kSlotted);
    cuda::Table table(expected, {.overflow_bytes = 2 * fresh.data.size()});
    table.update(d_index.data(), rows.data(), index.size(), stream_);
    table.check(stream_);
    expected.update(std::span<const std::int64_t>(index), fresh.data);
    ASSERT_EQ(expanded(table.tensor(stream_)), expanded(expected)) << name(codec);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuCompress, ::testing::Values(DType::kF8E4M3, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

class GpuRoom : public Gpu<> {};

TEST_F(GpuRoom, BitsAreCountedAsOnTheCpu) {
  for (const auto& shape : {std::vector<std::uint64_t>{3000, 50}, {100000, 3}, {7, 30000}}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, shape, Values::kNormal, 2);
    const OnDevice<std::byte> rows(raw.data);
    BitStatistics expected(2 * shape[1]);
    expected.add(raw.data);
    EXPECT_EQ(cuda::count(rows.data(), shape[0], 2 * shape[1], stream_).ones(), expected.ones());
  }
}

TEST_F(GpuRoom, AnOverflowAreaThatIsFullIsReported) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {1000, 100}, Values::kNormal, 9);
  const OwnedTensor fresh = make_tensor(DType::kBF16, {500, 100}, Values::kRandomBits, 9);
  const OnDevice<std::byte> rows(fresh.data);
  cuda::Table table(compressed(raw, Codec::kWindow, Packing::kSlotted), {.capacity_rows = 1500});
  table.append(rows.data(), 500, stream_);
  try {
    table.check(stream_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("overflow_bytes"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace stillbit
