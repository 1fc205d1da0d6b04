// Bags as warps of a GPU pool them, played on the CPU: the same bits as the CPU's own code gives.

#include "warp/pool.hpp"

#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/random_bags.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace stillbit {
namespace {

using testing::HostTable;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::pool_by_warps;
using testing::RandomBags;
using testing::Row;
using testing::Values;
using testing::WarpSetup;
using warp::Fault;

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};
constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};
constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr PoolMode kModes[] = {PoolMode::kSum, PoolMode::kMean, PoolMode::kMax};
constexpr WarpSetup kSetups[] = {
    {.num_warps = 1, .num_stages = 1, .batch_items = 1},
    {.num_warps = 2, .num_stages = 4, .batch_items = 5},
    {.num_warps = 7, .num_stages = 8, .batch_items = 32},
};
constexpr std::byte kUntouched{0xEE};

CompressedTensor compressed(const OwnedTensor& raw, Codec codec, Packing packing) {
  CompressOptions options;
  options.codec = codec;
  options.packing = packing;
  options.num_threads = 1;
  return compress(raw.view(), options);
}

bool is_fault(const warp::Status& status, Fault fault) {
  return status.fault == static_cast<std::uint32_t>(fault);
}

struct Pooled {
  Row out;
  warp::Status status;
};

Pooled pooled_by_warps(const CompressedTensor& tensor, const Bags& bags, const WarpSetup& setup = {}) {
  Pooled pooled{Row(bags.num_bags() * tensor.row_bytes(), kUntouched), {}};
  const HostTable table(tensor);
  pool_by_warps({table.bags(bags, pooled.out.data(), tensor.row_bytes(), &pooled.status)}, table.codec(),
                table.view_bytes(), setup);
  return pooled;
}

Row pooled_by_cpu(const CompressedTensor& tensor, const Bags& bags) {
  Row out(bags.num_bags() * tensor.row_bytes());
  tensor.pool(bags, out, 1);
  return out;
}

void expect_the_same(const CompressedTensor& tensor, const Bags& bags, const WarpSetup& setup = {}) {
  const Pooled pooled = pooled_by_warps(tensor, bags, setup);
  EXPECT_TRUE(is_fault(pooled.status, Fault::kNone));
  EXPECT_EQ(pooled.out, pooled_by_cpu(tensor, bags))
      << name(tensor.codec()) << ' ' << name(tensor.packing()) << " mode " << static_cast<int>(bags.mode)
      << " weighted " << bags.weights.has_value() << " padding " << bags.padding_index.has_value();
}

/// With every mode, with and without padding, and with weights.
template <class Body>
void for_each_kind(const RandomBags& given, const Row& weights, const Body& body) {
  for (const std::optional<std::uint64_t> padding : {std::optional<std::uint64_t>(), {2}}) {
    Bags bags = given.bags(PoolMode::kSum);
    bags.padding_index = padding;
    for (const PoolMode mode : kModes) {
      bags.mode = mode;
      body(bags);
    }
    bags.mode = PoolMode::kSum;
    bags.weights = weights;
    body(bags);
  }
}

class WarpPoolDType : public ::testing::TestWithParam<DType> {};

TEST_P(WarpPoolDType, EveryCodecAndPackingGivesTheBagsOfTheCpu) {
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{90, 65}, {700, 3}, {3, 4097}}) {
      SCOPED_TRACE(name(values));
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 2);
      const RandomBags given(shape[0], shape[1] > 100 ? 2 : 12, 3);
      const OwnedTensor weights = make_tensor(GetParam(), {given.index.size()}, Values::kNormal, 4);
      for (const Codec codec : kCodecs) {
        for (const Packing packing : kPackings) {
          const CompressedTensor tensor = compressed(raw, codec, packing);
          for_each_kind(given, weights.data, [&](const Bags& bags) { expect_the_same(tensor, bags); });
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpPoolDType, ::testing::ValuesIn(kDTypes),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(WarpPool, All16BitPatternsArePooledAsByTheCpu) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const OwnedTensor raw = make_tensor(dtype, {512, 128}, Values::kAllPatterns, 1);
    const OwnedTensor shuffled = make_tensor(dtype, {512, 128}, Values::kRandomBits, 1);
    for (const OwnedTensor& table : {raw, shuffled}) {
      const RandomBags given(512, 200, 1);
      const OwnedTensor weights = make_tensor(dtype, {given.index.size()}, Values::kRandomBits, 4);
      const CompressedTensor tensor = compressed(table, Codec::kWindow, Packing::kSlotted);
      for_each_kind(given, weights.data, [&](const Bags& bags) { expect_the_same(tensor, bags); });
    }
  }
}

TEST(WarpPool, AnyNumberOfWarpsAndStagesAndIntegersOfAnyWidthGiveTheSame) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {150, 77}, Values::kOutliers, 1);
  const RandomBags given(150, 70, 5);
  const std::vector<std::int32_t> index(given.index.begin(), given.index.end());
  const std::vector<std::int32_t> offsets(given.offsets.begin(), given.offsets.end() - 1);
  Bags narrow = given.bags(PoolMode::kMean);
  narrow.index = std::span(index);
  narrow.offsets = std::span(offsets);
  narrow.has_last_offset = false;
  for (const Packing packing : kPackings) {
    const CompressedTensor tensor = compressed(raw, Codec::kEscape, packing);
    for (const WarpSetup& setup : kSetups) {
      expect_the_same(tensor, given.bags(PoolMode::kMean), setup);
      expect_the_same(tensor, narrow, setup);
    }
  }
}

TEST(WarpPool, RowsOfSeveralTilesAndTilesOfSeveralRowsArePooled) {
  bool has_longer_tiles = false;
  bool has_shorter_tiles = false;
  for (const auto& shape : {std::vector<std::uint64_t>{300, 3}, {4, 300'001}}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, shape, Values::kNormal, 1);
    const RandomBags given(shape[0], shape[0] < 10 ? 1 : 9, 1);
    for (const Codec codec : kCodecs) {
      const CompressedTensor tensor = compressed(raw, codec, Packing::kPacked);
      const warp::Table table = HostTable(tensor).table();
      has_longer_tiles |= table.tile_bytes > tensor.row_bytes();
      has_shorter_tiles |= table.tile_bytes < tensor.row_bytes();
      expect_the_same(tensor, given.bags(PoolMode::kSum));
      Bags padded = given.bags(PoolMode::kMean);
      padded.padding_index = 0;
      expect_the_same(tensor, padded);
    }
  }
  EXPECT_TRUE(has_longer_tiles);
  EXPECT_TRUE(has_shorter_tiles);
}

TEST(WarpPool, SeveralTablesWriteColumnsOfOneResult) {
  struct Part {
    CompressedTensor tensor;
    RandomBags given;
    PoolMode mode;
  };
  std::vector<Part> parts;
  std::uint64_t row_bytes = 0;
  for (std::uint64_t i = 0; i < 7; ++i) {
    const std::uint64_t num_rows = 2000 + 30 * i;
    const OwnedTensor raw = make_tensor(DType::kF32, {num_rows, 16 + 12 * (i % 3)}, Values::kSmallInts, i);
    parts.push_back({compressed(raw, Codec::kIbp, i % 2 == 0 ? Packing::kSlotted : Packing::kPacked),
                     RandomBags(num_rows, 25, i), kModes[i % 3]});
    row_bytes += parts.back().tensor.row_bytes();
  }
  for (const Part& part : parts) ASSERT_EQ(part.tensor.codec(), Codec::kIbp);
  for (const WarpSetup& setup : kSetups) {
    Row out(25 * row_bytes, kUntouched);
    warp::Status status;
    std::vector<HostTable> tables;
    std::vector<warp::BagTable> requests;
    std::uint64_t column = 0;
    for (const Part& part : parts) tables.emplace_back(part.tensor);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      requests.push_back(tables[i].bags(parts[i].given.bags(parts[i].mode), out.data() + column, row_bytes, &status));
      column += parts[i].tensor.row_bytes();
    }
    pool_by_warps(requests, Codec::kIbp, tables[0].view_bytes(), setup);
    ASSERT_TRUE(is_fault(status, Fault::kNone));
    column = 0;
    for (const Part& part : parts) {
      const Row wanted = pooled_by_cpu(part.tensor, part.given.bags(part.mode));
      const std::uint64_t width = part.tensor.row_bytes();
      for (std::uint64_t bag = 0; bag < 25; ++bag)
        ASSERT_EQ(std::memcmp(out.data() + bag * row_bytes + column, wanted.data() + bag * width, width), 0);
      column += width;
    }
  }
}

/// Bags of one row each, but that one is empty, and one names a row that is not there.
struct WithFault {
  std::vector<std::int64_t> index{0, 1, 2, 3, 4};
  std::vector<std::int64_t> offsets{0, 1, 1, 3, 4};

  [[nodiscard]] Bags bags() const {
    Bags bags;
    bags.index = std::span(index);
    bags.offsets = std::span(offsets);
    return bags;
  }
};

TEST(WarpPool, ABagWithARowThatIsNotThereIsReportedAndAloneIsNotWritten) {
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 20}, Values::kNormal, 1);
  WithFault given;
  for (const std::int64_t wrong : {std::int64_t{100}, std::int64_t{-1}}) {
    given.index[2] = wrong;
    for (const WarpSetup& setup : kSetups) {
      const CompressedTensor tensor = compressed(raw, Codec::kIbp, Packing::kSlotted);
      const Pooled pooled = pooled_by_warps(tensor, given.bags(), setup);
      EXPECT_TRUE(is_fault(pooled.status, Fault::kIndexOutOfRange));
      EXPECT_EQ(pooled.status.where, 2U);
      WithFault sound;
      Row wanted = pooled_by_cpu(tensor, sound.bags());
      std::fill_n(wanted.begin() + 2 * 80, 80, kUntouched);
      EXPECT_EQ(pooled.out, wanted);
    }
  }
}

TEST(WarpPool, OffsetsThatDecreaseOrGoTooFarAreReported) {
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 20}, Values::kNormal, 1);
  const CompressedTensor tensor = compressed(raw, Codec::kWindow, Packing::kSlotted);
  for (const auto& [offsets, bag] : std::map<std::vector<std::int64_t>, std::uint64_t>{
           {{0, 2, 1, 3}, 1}, {{0, 2, 9, 9}, 1}, {{-1, 2, 3, 4}, 0}, {{0, 1, 2, 6}, 2}}) {
    WithFault given;
    given.offsets = offsets;
    const Pooled pooled = pooled_by_warps(tensor, given.bags(), {.num_warps = 1, .batch_items = 1});
    EXPECT_TRUE(is_fault(pooled.status, Fault::kBadOffset));
    EXPECT_EQ(pooled.status.where, bag);
    EXPECT_TRUE(std::all_of(pooled.out.begin() + static_cast<std::ptrdiff_t>(pooled.status.where * 80),
                            pooled.out.begin() + static_cast<std::ptrdiff_t>((pooled.status.where + 1) * 80),
                            [](std::byte byte) { return byte == kUntouched; }));
  }
}

TEST(WarpPool, AMalformedRowIsReported) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {64, 200}, Values::kNormal, 1);
  const CompressedTensor tensor = compressed(raw, Codec::kEscape, Packing::kSlotted);
  const HostTable table(tensor);
  const std::vector<std::int64_t> index{3, 5, 7};
  const std::vector<std::int64_t> offsets{0, 1, 2};
  Bags bags;
  bags.index = std::span(index);
  bags.offsets = std::span(offsets);
  Pooled pooled{Row(3 * tensor.row_bytes(), kUntouched), {}};
  warp::BagTable request = table.bags(bags, pooled.out.data(), tensor.row_bytes(), &pooled.status);
  auto* const last = const_cast<std::byte*>(request.table.rows + 6 * request.table.row_unit - 1);
  *last = std::byte{9};  // no tag
  pool_by_warps({request}, table.codec(), table.view_bytes());
  EXPECT_TRUE(is_fault(pooled.status, Fault::kCorruptRow));
  EXPECT_EQ(pooled.status.where, 5U);
  Row wanted = pooled_by_cpu(tensor, bags);
  std::fill_n(wanted.begin() + 400, 400, kUntouched);
  EXPECT_EQ(pooled.out, wanted);
}

TEST(WarpPool, ResultsMayStartAtAnyByteAndNothingAroundThemIsWritten) {
  constexpr std::size_t kGuard = 64;
  for (const DType dtype : kDTypes) {
    const OwnedTensor raw = make_tensor(dtype, {60, 7}, Values::kOutliers, 1);
    const CompressedTensor tensor = compressed(raw, Codec::kWindow, Packing::kSlotted);
    const HostTable table(tensor);
    const RandomBags given(60, 9, 1);
    const Row wanted = pooled_by_cpu(tensor, given.bags(PoolMode::kSum));
    const std::uint64_t width = tensor.row_bytes();
    for (const std::size_t shift : {0U, 1U, 2U, 8U}) {
      for (const std::uint64_t gap : {0U, 3U, 16U}) {
        Row frame(2 * kGuard + shift + 9 * (width + gap), kUntouched);
        Row expected = frame;
        for (std::size_t bag = 0; bag < 9; ++bag)
          std::copy_n(wanted.begin() + static_cast<std::ptrdiff_t>(bag * width), width,
                      expected.begin() + static_cast<std::ptrdiff_t>(kGuard + shift + bag * (width + gap)));
        warp::Status status;
        pool_by_warps({table.bags(given.bags(PoolMode::kSum), frame.data() + kGuard + shift, width + gap, &status)},
                      table.codec(), table.view_bytes());
        ASSERT_EQ(frame, expected) << "byte " << shift << ", gap " << gap;
      }
    }
  }
}

RC_GTEST_PROP(WarpPoolProperty, TheBagsAreThoseOfTheCpu, ()) {
  const auto dtype = *rc::gen::elementOf(std::vector<DType>(std::begin(kDTypes), std::end(kDTypes)));
  const std::vector<std::uint64_t> shape{*rc::gen::inRange<std::uint64_t>(3, 200),
                                         *rc::gen::inRange<std::uint64_t>(1, 300)};
  const Values values = testing::kAllValues[*rc::gen::inRange<std::size_t>(0, std::size(testing::kAllValues))];
  const OwnedTensor raw = make_tensor(dtype, shape, values, *rc::gen::arbitrary<std::uint64_t>());
  const Codec codec = kCodecs[*rc::gen::inRange<std::size_t>(0, std::size(kCodecs))];
  const CompressedTensor tensor = compressed(raw, codec, *rc::gen::element(Packing::kPacked, Packing::kSlotted));
  const RandomBags given(shape[0], *rc::gen::inRange<std::uint64_t>(0, 70), *rc::gen::arbitrary<std::uint64_t>());
  Bags bags = given.bags(kModes[*rc::gen::inRange<std::size_t>(0, 3)]);
  if (*rc::gen::arbitrary<bool>()) bags.padding_index = 0;
  const OwnedTensor weights = make_tensor(dtype, {given.index.size()}, Values::kNormal, 4);
  if (bags.mode == PoolMode::kSum && *rc::gen::arbitrary<bool>()) bags.weights = weights.data;
  const WarpSetup setup{.num_warps = *rc::gen::inRange<std::uint64_t>(1, 9),
                        .num_stages = *rc::gen::inRange(1U, warp::kMaxStages + 1),
                        .batch_items = *rc::gen::inRange(1U, warp::kLanes + 1)};
  const Pooled pooled = pooled_by_warps(tensor, bags, setup);
  RC_ASSERT(is_fault(pooled.status, Fault::kNone));
  RC_ASSERT(pooled.out == pooled_by_cpu(tensor, bags));
}

}  // namespace
}  // namespace stillbit
