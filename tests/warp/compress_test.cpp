// Rows that warps of a GPU compress, played on the CPU: the same bytes as the CPU's own code stores.

#include "api/compressed_tensor.hpp"
#include "packings/slot.hpp"
#include "tests/support/host_encoder.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <memory>
#include <set>

namespace stillbit {
namespace {

using testing::HostEncoder;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;
using testing::WarpSetup;

constexpr Codec kCodecs[] = {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape};
constexpr WarpSetup kOneWarp{.num_warps = 1};

CompressedTensor compressed(const OwnedTensor& raw, Codec codec) {
  CompressOptions options;
  options.packing = Packing::kSlotted;
  options.codec = codec;
  options.num_threads = 1;
  return compress(raw.view(), options);
}

std::vector<std::byte> expanded(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out, 1);
  return out;
}

/// The sections that the CPU's own functions make of rows, one after the other.
struct Sections {
  std::vector<std::byte> slots;
  std::vector<std::byte> overflow;
};

Sections stored_by_cpu(const CompressedTensor& like, Bytes rows, std::uint64_t stride) {
  const std::uint64_t row_bytes = like.row_bytes();
  const RowCodec& codec = *like.impl().codec;
  if (stride == row_bytes) return {{rows.begin(), rows.end()}, {}};
  Sections sections;
  std::vector<std::byte> slot(stride);
  std::vector<std::byte> row(row_bytes + RowCodec::kSlack);
  for (; !rows.empty(); rows = rows.subspan(row_bytes)) {
    const std::uint64_t size = codec.encode(rows.data(), row.data());
    packing::fill_slot(slot.data(), stride, Bytes(row).first(size), size == row_bytes, sections.overflow.size());
    sections.slots.insert(sections.slots.end(), slot.begin(), slot.end());
    const Bytes tail = Bytes(row).first(size).last(packing::tail_bytes_for(size, stride));
    sections.overflow.insert(sections.overflow.end(), tail.begin(), tail.end());
  }
  return sections;
}

/// The tensor's own stride and others: rows inside their slots, with long and with short tails.
std::set<std::uint64_t> strides_for(const CompressedTensor& tensor) {
  const std::uint64_t row_bytes = tensor.row_bytes();
  const std::uint64_t own = tensor.impl().header.row_unit;
  std::set<std::uint64_t> strides{own, row_bytes};
  for (const std::uint64_t stride : {std::uint64_t{16}, std::uint64_t{33}, row_bytes / 2, own - 1, row_bytes - 1}) {
    if (tensor.codec() != Codec::kRaw && stride >= 16 && stride < row_bytes) strides.insert(stride);
  }
  return strides;
}

class WarpCompressDType : public ::testing::TestWithParam<DType> {};

TEST_P(WarpCompressDType, StoresWhatTheCpuStores) {
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{70, 65}, {41, 512}, {70, 3}, {2, 4097}}) {
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 7);
      for (const Codec codec : kCodecs) {
        const CompressedTensor like = compressed(raw, codec);
        for (const std::uint64_t stride : strides_for(like)) {
          const Sections wanted = stored_by_cpu(like, raw.data, stride);
          HostEncoder encoder(like, shape[0], wanted.overflow.size(), stride);
          ASSERT_EQ(encoder.put(raw.data, 0, kOneWarp).fault, 0U);
          const CompressedTensor stored = encoder.tensor();
          const format::Payload payload = stored.impl().sections();
          // One warp takes the rows in order.
          ASSERT_TRUE(std::ranges::equal(payload.rows, wanted.slots) &&
                      std::ranges::equal(payload.overflow, wanted.overflow))
              << name(codec) << ' ' << name(GetParam()) << ' ' << name(values) << ", stride " << stride;
          ASSERT_TRUE(encoder.is_intact_behind());
          ASSERT_EQ(expanded(stored), raw.data);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpCompressDType,
                         ::testing::Values(DType::kF8E4M3, DType::kF16, DType::kBF16, DType::kF32, DType::kF64,
                                           DType::kI64),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(WarpCompress, ASourceMayLieAnywhere) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {20, 83}, Values::kNormal, 3);
  const CompressedTensor like = compressed(raw, Codec::kEscape);
  const Sections wanted = stored_by_cpu(like, raw.data, like.impl().header.row_unit);
  for (std::size_t misalignment = 0; misalignment < 17; ++misalignment) {
    // Not a byte in front of it or behind it is there.
    const std::unique_ptr<std::byte[]> memory(new std::byte[misalignment + raw.data.size()]);
    std::byte* const src = memory.get() + misalignment;
    std::copy(raw.data.begin(), raw.data.end(), src);
    HostEncoder encoder(like, 20, wanted.overflow.size());
    ASSERT_EQ(encoder.put({src, raw.data.size()}).fault, 0U);
    EXPECT_EQ(expanded(encoder.tensor()), raw.data) << misalignment;
  }
}

/// A table whose rows all have tails, and how much room these need.
struct TightTable {
  OwnedTensor raw = make_tensor(DType::kF32, {60, 100}, Values::kNormal, 5);
  CompressedTensor like = compressed(raw, Codec::kEscape);
  std::uint64_t stride = 128;
  std::uint64_t overflow_bytes = stored_by_cpu(like, raw.data, stride).overflow.size();
};

TEST(WarpCompress, RowsForWhichThereIsNoRoomAreLeftAlone) {
  const TightTable tight;
  HostEncoder encoder(tight.like, 60, tight.overflow_bytes / 2, tight.stride);
  const warp::Status status = encoder.put(tight.raw.data);
  EXPECT_EQ(status.fault, static_cast<std::uint32_t>(warp::Fault::kNoSpace));
  EXPECT_TRUE(encoder.is_untouched(status.where));
  EXPECT_TRUE(encoder.is_intact_behind());
  // What is missing is known: with as much room all rows can be stored.
  EXPECT_EQ(encoder.use().used_bytes, tight.overflow_bytes);
  HostEncoder again(tight.like, 60, encoder.use().used_bytes, tight.stride);
  EXPECT_EQ(again.put(tight.raw.data).fault, 0U);
  EXPECT_EQ(expanded(again.tensor()), tight.raw.data);
}

TEST(WarpCompress, OldRowsStayWhereThereIsNoRoomForNewOnes) {
  const TightTable tight;
  HostEncoder encoder(tight.like, 60, tight.overflow_bytes, tight.stride);
  ASSERT_EQ(encoder.put(tight.raw.data).fault, 0U);
  const OwnedTensor random = make_tensor(DType::kF32, {2, 100}, Values::kRandomBits, 6);
  const std::vector<std::int64_t> index{7, 30};
  EXPECT_EQ(encoder.update(index, random.data).fault, static_cast<std::uint32_t>(warp::Fault::kNoSpace));
  EXPECT_EQ(expanded(encoder.tensor()), tight.raw.data);
  // Once there is room the whole update is done again.
  const std::uint64_t wanted = encoder.use().used_bytes;
  encoder.use().used_bytes = tight.overflow_bytes;
  encoder.grow(60, wanted);
  EXPECT_EQ(encoder.update(index, random.data).fault, 0U);
  std::vector<std::byte> updated = tight.raw.data;
  std::copy_n(random.data.data(), 400, updated.data() + 7 * 400);
  std::copy_n(random.data.data() + 400, 400, updated.data() + 30 * 400);
  EXPECT_EQ(expanded(encoder.tensor()), updated);
}

TEST(WarpCompress, RowsAreAppended) {
  const TightTable tight;
  const Bytes rows(tight.raw.data);
  HostEncoder encoder(tight.like, 23, tight.overflow_bytes, tight.stride);
  ASSERT_EQ(encoder.put(rows.first(23 * 400)).fault, 0U);
  encoder.grow(60, tight.overflow_bytes);
  ASSERT_EQ(encoder.put(rows.subspan(23 * 400), 23).fault, 0U);
  EXPECT_EQ(expanded(encoder.tensor()), tight.raw.data);
  EXPECT_EQ(encoder.use().used_bytes, tight.overflow_bytes);
  EXPECT_TRUE(encoder.is_intact_behind());
}

TEST(WarpCompress, ARowThatIsNotThereIsReportedAndNothingWritten) {
  const TightTable tight;
  HostEncoder encoder(tight.like, 60, tight.overflow_bytes, tight.stride);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{60}, std::int64_t{1} << 62}) {
    const std::vector<std::int64_t> index{3, 4, wrong, 5};
    const warp::Status status = encoder.update(index, Bytes(tight.raw.data).first(4 * 400));
    EXPECT_EQ(status.fault, static_cast<std::uint32_t>(warp::Fault::kIndexOutOfRange));
    EXPECT_EQ(status.where, 2U);
    for (std::uint64_t row = 0; row < 60; ++row) EXPECT_TRUE(encoder.is_untouched(row));
  }
  // Without a pass over the index the other rows are written.
  EXPECT_EQ(encoder.put(Bytes(tight.raw.data).first(2 * 400), 59).fault,
            static_cast<std::uint32_t>(warp::Fault::kIndexOutOfRange));
  EXPECT_TRUE(encoder.is_intact_behind());
}

TEST(WarpCompress, TailsThatCannotBeAreNotUsedAgain) {
  const TightTable tight;
  HostEncoder encoder(tight.like, 60, tight.overflow_bytes, tight.stride);
  std::vector<std::int64_t> index(60);
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i);
  // As far as the warps know the slots hold rows: tags, offsets and sizes are 0xA5.
  EXPECT_EQ(encoder.update(index, tight.raw.data).fault, 0U);
  EXPECT_EQ(expanded(encoder.tensor()), tight.raw.data);
}

RC_GTEST_PROP(WarpCompress, UpdatesLeaveWhatUpdatesOnTheCpuLeave, ()) {
  const auto dtype = *rc::gen::element(DType::kU8, DType::kBF16, DType::kF32, DType::kI64);
  const auto num_rows = *rc::gen::inRange<std::uint64_t>(1, 80);
  const auto width = *rc::gen::inRange<std::uint64_t>(20, 400);
  const OwnedTensor raw =
      make_tensor(dtype, {num_rows, width}, *rc::gen::elementOf(std::to_array(testing::kAllValues)), width);
  CompressedTensor model = compressed(raw, *rc::gen::elementOf(std::to_array(kCodecs)));
  const std::uint64_t stride = *rc::gen::elementOf(strides_for(model));
  const WarpSetup setup{.num_warps = *rc::gen::inRange<std::uint64_t>(1, 5),
                        .num_stages = *rc::gen::inRange(1U, 9U),
                        .batch_items = *rc::gen::inRange(1U, 33U)};
  HostEncoder encoder(model, num_rows, 8 * raw.data.size(), stride);
  RC_ASSERT(encoder.put(raw.data, 0, setup).fault == 0U);
  for (int round = 0; round < 3; ++round) {
    const auto num_changes = *rc::gen::inRange<std::uint64_t>(1, 60);
    const auto index = *rc::gen::container<std::vector<std::int64_t>>(
        num_changes, rc::gen::inRange<std::int64_t>(0, static_cast<std::int64_t>(num_rows)));
    const OwnedTensor rows =
        make_tensor(dtype, {num_changes, width}, *rc::gen::elementOf(std::to_array(testing::kAllValues)), num_changes);
    model.update(index, rows.data);
    RC_ASSERT(encoder.update(index, rows.data, setup).fault == 0U);
    const CompressedTensor stored = encoder.tensor();
    RC_ASSERT(expanded(stored) == expanded(model));
    RC_ASSERT(encoder.use().unused_bytes == encoder.use().used_bytes - total_tail_bytes(stored.impl()));
    RC_ASSERT(encoder.is_intact_behind());
  }
}

}  // namespace
}  // namespace stillbit
