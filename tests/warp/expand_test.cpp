// What warps of a GPU do, played on the CPU: the same bits as the CPU's own code gives.

#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"
#include "warp/host_warp.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <utility>

namespace stillbit {
namespace {

using testing::HostTable;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Row;
using testing::Values;
using testing::WarpSetup;
using warp::Fault;

constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};
constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr WarpSetup kSetups[] = {
    {.num_warps = 1, .num_stages = 1, .batch_items = 1}, {.num_warps = 1, .num_stages = 1, .batch_items = 32},
    {.num_warps = 2, .num_stages = 4, .batch_items = 5}, {.num_warps = 7, .num_stages = 8, .batch_items = 32},
    {.num_warps = 7, .num_stages = 8, .batch_items = 1},
};
constexpr std::byte kUntouched{0xEE};

CompressedTensor compressed(const OwnedTensor& raw, std::optional<Codec> codec, Packing packing) {
  CompressOptions options;
  options.codec = codec;
  options.packing = packing;
  options.num_threads = 1;
  return compress(raw.view(), options);
}

bool is_fault(const warp::Status& status, Fault fault) {
  return status.fault == static_cast<std::uint32_t>(fault);
}

Row expanded(const CompressedTensor& tensor, const WarpSetup& setup = {}) {
  Row out(tensor.raw_bytes());
  EXPECT_TRUE(is_fault(HostTable(tensor).expand(out.data(), setup), Fault::kNone));
  return out;
}

/// Rows of `raw`, row index[i] at positions[i], or at i.
template <class Index>
Row rows_of(const OwnedTensor& raw, std::uint64_t row_bytes, const std::vector<Index>& index,
            const std::vector<std::int64_t>& positions = {}) {
  Row rows(index.size() * row_bytes);
  for (std::size_t i = 0; i < index.size(); ++i) {
    const std::uint64_t to = positions.empty() ? i : static_cast<std::uint64_t>(positions[i]);
    std::copy_n(raw.data.data() + static_cast<std::uint64_t>(index[i]) * row_bytes, row_bytes,
                rows.data() + to * row_bytes);
  }
  return rows;
}

template <class Index>
Row gathered(const HostTable& table, const std::vector<Index>& index, const WarpSetup& setup = {},
             const std::vector<std::int64_t>& positions = {}) {
  Row out(index.size() * table.table().row_bytes);
  const warp::Status status =
      table.gather(std::span<const Index>(index), out.data(), setup, positions.empty() ? nullptr : positions.data());
  EXPECT_TRUE(is_fault(status, Fault::kNone));
  return out;
}

template <class Index>
std::vector<Index> random_index(std::uint64_t num_rows, std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Index> index(size);
  for (Index& row : index) row = static_cast<Index>(random() % num_rows);
  return index;
}

std::vector<std::int64_t> shuffled_positions(std::size_t size, std::uint64_t seed) {
  std::vector<std::int64_t> positions(size);
  std::iota(positions.begin(), positions.end(), 0);
  std::shuffle(positions.begin(), positions.end(), std::mt19937_64(seed));
  return positions;
}

/// A tensor in every codec and packing.
template <class Body>
void for_each_compressed(const OwnedTensor& raw, const Body& body) {
  for (const Codec codec : kCodecs) {
    for (const Packing packing : kPackings) {
      const CompressedTensor tensor = compressed(raw, codec, packing);
      SCOPED_TRACE(::testing::Message() << name(codec) << ", stored as " << name(tensor.codec()) << ", "
                                        << name(packing));
      body(tensor);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

class WarpDType : public ::testing::TestWithParam<unsigned> {};

TEST_P(WarpDType, EveryCodecExpandsToWhatWasCompressed) {
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{90, 65}, {41, 512}, {700, 3}, {2, 4097}}) {
      SCOPED_TRACE(name(values));
      const OwnedTensor raw = make_tensor(static_cast<DType>(GetParam()), shape, values, 7);
      for_each_compressed(raw, [&](const CompressedTensor& tensor) { ASSERT_EQ(expanded(tensor), raw.data); });
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpDType, ::testing::Range(0U, kNumDTypes),
                         [](const auto& test) { return std::string(name(static_cast<DType>(test.param))); });

TEST(WarpExpand, All16BitPatternsComeBack) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {64, 1024}, Values::kAllPatterns, 1);
  for_each_compressed(raw, [&](const CompressedTensor& tensor) { ASSERT_EQ(expanded(tensor), raw.data); });
}

TEST(WarpExpand, EmptyTensorsAndSingleElementsComeBack) {
  for (const auto& shape :
       {std::vector<std::uint64_t>{}, {1}, {0}, {0, 5}, {5, 0}, {1, 1}, {1, 33}, {33, 1}, {3, 0, 2}}) {
    const OwnedTensor raw = make_tensor(DType::kF32, shape, Values::kSmallInts, 1);
    for_each_compressed(raw, [&](const CompressedTensor& tensor) {
      ASSERT_EQ(expanded(tensor), raw.data);
      const HostTable table(tensor);
      ASSERT_EQ(gathered(table, std::vector<std::int64_t>{}), Row());
      if (tensor.num_rows() == 0) return;
      const auto index = random_index<std::int32_t>(tensor.num_rows(), 5, 1);
      ASSERT_EQ(gathered(table, index), rows_of(raw, tensor.row_bytes(), index));
    });
  }
}

TEST(WarpExpand, AnyNumberOfWarpsAndStagesGivesTheSame) {
  for (const Values values : {Values::kNormal, Values::kOutliers, Values::kBagOfWords}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, {150, 77}, values, 1);
    for_each_compressed(raw, [&](const CompressedTensor& tensor) {
      const HostTable table(tensor);
      const auto index = random_index<std::int64_t>(150, 100, 1);
      for (const WarpSetup& setup : kSetups) {
        ASSERT_EQ(expanded(tensor, setup), raw.data);
        ASSERT_EQ(gathered(table, index, setup), rows_of(raw, tensor.row_bytes(), index));
      }
    });
  }
}

/// Shapes whose tiles are rows, several rows, and parts of rows.
const std::vector<std::uint64_t> kGatherShapes[] = {{300, 3}, {200, 65}, {40, 1000}, {3, 300'001}};

TEST(WarpGather, RandomRowsComeBackWithIndicesOfBothWidthsInAnyOrder) {
  bool has_longer_tiles = false;
  bool has_shorter_tiles = false;
  for (const auto& shape : kGatherShapes) {
    for (const Values values : {Values::kNormal, Values::kBagOfWords, Values::kOutliers, Values::kSmallInts}) {
      const OwnedTensor raw = make_tensor(DType::kI16, shape, values, 1);
      for_each_compressed(raw, [&](const CompressedTensor& tensor) {
        const HostTable table(tensor);
        has_longer_tiles |= table.table().tile_bytes > tensor.row_bytes();
        has_shorter_tiles |= table.table().tile_bytes < tensor.row_bytes();
        const std::size_t size = shape[0] < 10 ? 4 : 150;
        const auto wide = random_index<std::int64_t>(shape[0], size, 1);
        const std::vector<std::int32_t> narrow(wide.begin(), wide.end());
        const auto positions = shuffled_positions(size, 2);
        ASSERT_EQ(gathered(table, wide), rows_of(raw, tensor.row_bytes(), wide));
        ASSERT_EQ(gathered(table, narrow), rows_of(raw, tensor.row_bytes(), narrow));
        ASSERT_EQ(gathered(table, wide, {}, positions), rows_of(raw, tensor.row_bytes(), wide, positions));
        ASSERT_EQ(gathered(table, narrow, {}, positions), rows_of(raw, tensor.row_bytes(), narrow, positions));
      });
    }
  }
  EXPECT_TRUE(has_longer_tiles);
  EXPECT_TRUE(has_shorter_tiles);
}

TEST(WarpGather, RowsThatRepeatOthersAreFoundThroughTheMap) {
  bool has_map = false;
  const OwnedTensor raw = make_tensor(DType::kF32, {500, 64}, Values::kRepeatedRows, 1);
  for_each_compressed(raw, [&](const CompressedTensor& tensor) {
    const HostTable table(tensor);
    has_map |= table.table().has_map;
    const auto index = random_index<std::int64_t>(500, 200, 1);
    ASSERT_EQ(gathered(table, index), rows_of(raw, tensor.row_bytes(), index));
    ASSERT_EQ(expanded(tensor), raw.data);
  });
  EXPECT_TRUE(has_map);
}

TEST(WarpGather, IndicesOutOfRangeAreReportedAndTheOtherRowsAreRight) {
  for (const auto& shape : kGatherShapes) {
    const OwnedTensor raw = make_tensor(DType::kI16, shape, Values::kSmallInts, 1);
    for_each_compressed(raw, [&](const CompressedTensor& tensor) {
      const HostTable table(tensor);
      const auto num_rows = static_cast<std::int64_t>(shape[0]);
      for (const std::int64_t wrong : {num_rows, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                                       std::numeric_limits<std::int64_t>::max()}) {
        const std::vector<std::int64_t> index{0, num_rows - 1, wrong, 1};
        Row expected = rows_of(raw, tensor.row_bytes(), std::vector<std::int64_t>{0, num_rows - 1, 0, 1});
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(2 * tensor.row_bytes()), tensor.row_bytes(),
                    kUntouched);
        Row out(expected.size(), kUntouched);
        const warp::Status status = table.gather(std::span<const std::int64_t>(index), out.data());
        ASSERT_TRUE(is_fault(status, Fault::kIndexOutOfRange));
        ASSERT_EQ(status.where, 2U);
        ASSERT_EQ(out, expected);
      }
      const std::vector<std::int32_t> narrow{0, -1};
      Row out(2 * tensor.row_bytes(), kUntouched);
      const warp::Status status = table.gather(std::span<const std::int32_t>(narrow), out.data());
      ASSERT_TRUE(is_fault(status, Fault::kIndexOutOfRange));
      ASSERT_EQ(status.where, 1U);
    });
  }
}

TEST(WarpOutput, MayStartAtAnyByteAndNothingAroundItIsWritten) {
  constexpr std::size_t kGuard = 64;
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kF64}) {
    for (const auto& shape : {std::vector<std::uint64_t>{60, 67}, {150, 3}}) {
      const OwnedTensor raw = make_tensor(dtype, shape, Values::kOutliers, 1);
      for_each_compressed(raw, [&](const CompressedTensor& tensor) {
        const HostTable table(tensor);
        const auto index = random_index<std::int64_t>(shape[0], 20, 1);
        const Row rows = rows_of(raw, tensor.row_bytes(), index);
        for (const std::size_t shift : {0U, 1U, 2U, 4U, 8U}) {
          const auto framed = [&](const Row& content) {
            Row frame(kGuard + shift + content.size() + kGuard, kUntouched);
            std::copy(content.begin(), content.end(), frame.begin() + static_cast<std::ptrdiff_t>(kGuard + shift));
            return frame;
          };
          Row out = framed(Row(raw.data.size(), kUntouched));
          (void)table.expand(out.data() + kGuard + shift);
          ASSERT_EQ(out, framed(raw.data)) << "byte " << shift;
          out = framed(Row(rows.size(), kUntouched));
          (void)table.gather(std::span<const std::int64_t>(index), out.data() + kGuard + shift);
          ASSERT_EQ(out, framed(rows)) << "byte " << shift;
        }
      });
    }
  }
}

/// A warp that keeps which lane asks for what, and in which of its steps.
class RecordingWarp : public warp::HostWarp {
 public:
  struct Copy {
    unsigned step = 0;
    unsigned lane = 0;
    std::uintptr_t src = 0;
    std::uintptr_t dst = 0;
  };

  template <class Body>
  void each(const Body& body) {
    ++step_;
    HostWarp::each([&](unsigned lane) {
      lane_ = lane;
      body(lane);
    });
  }
  void copy_async(std::byte* dst, const std::byte* src) {
    copies.push_back({step_, lane_, reinterpret_cast<std::uintptr_t>(src), reinterpret_cast<std::uintptr_t>(dst)});
  }

  std::vector<Copy> copies;

 private:
  unsigned step_ = 0;
  unsigned lane_ = 0;
};

RC_GTEST_PROP(WarpRequest, EveryLineOfATileIsAskedForOnceByEightLanesAtOnce, ()) {
  constexpr std::uint64_t kMemoryBytes = 8192;
  alignas(128) static std::byte memory[kMemoryBytes];
  alignas(128) static std::byte stage[kMemoryBytes];
  // Memory that was pinned in place begins at any multiple of 16.
  const auto base = *rc::gen::inRange<std::uint64_t>(0, 9) * 16;
  const auto begin = *rc::gen::inRange<std::uint64_t>(0, 1000);
  const auto size = *rc::gen::inRange<std::uint32_t>(1, 3000);
  warp::Table table;
  table.rows = memory + base;
  warp::Item item;
  item.place = {begin, size, true};
  item.out.end = size;
  RecordingWarp warp;
  warp::request_tile(warp, table, item, stage);

  const auto first = reinterpret_cast<std::uintptr_t>(memory) + base + begin;
  std::vector<unsigned> num_copies(kMemoryBytes / 16);
  // Who asks for a line: which eight lanes, in which step.
  std::map<std::uintptr_t, std::set<std::pair<unsigned, unsigned>>> asked_by;
  for (const RecordingWarp::Copy& copy : warp.copies) {
    RC_ASSERT(copy.src % 16 == 0U);
    RC_ASSERT(copy.dst - reinterpret_cast<std::uintptr_t>(stage) == copy.src - first / 16 * 16);
    ++num_copies[(copy.src - reinterpret_cast<std::uintptr_t>(memory)) / 16];
    asked_by[copy.src / warp::kLineBytes].insert({copy.step, copy.lane / 8});
  }
  for (std::uint64_t piece = 0; piece < num_copies.size(); ++piece) {
    const auto at = reinterpret_cast<std::uintptr_t>(memory) + piece * 16;
    RC_ASSERT(num_copies[piece] == (at + 16 > first && at < first + size ? 1U : 0U));
  }
  for (const auto& [line, by] : asked_by) RC_ASSERT(by.size() == 1U);
  std::set<std::pair<unsigned, unsigned>> all;
  for (const auto& [line, by] : asked_by) RC_ASSERT(all.insert(*by.begin()).second);
}

TEST(WarpUpdate, RowsThatWereRewrittenAndAddedComeBackFromTheOverflow) {
  for (const Codec codec : kCodecs) {
    OwnedTensor raw = make_tensor(DType::kF32, {200, 64}, Values::kBagOfWords, 1);
    CompressedTensor tensor = compressed(raw, codec, Packing::kSlotted);
    std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same rows in every run
    for (const Values values : testing::kAllValues) {
      const OwnedTensor rows = make_tensor(DType::kF32, {15, 64}, values, random());
      const auto index = random_index<std::int64_t>(raw.shape[0], 15, random());
      tensor.update(index, rows.data);
      for (std::size_t i = 0; i < index.size(); ++i)
        std::copy_n(rows.data.data() + i * 256, 256, raw.data.data() + index[i] * 256);
      tensor.append(rows.data);
      raw.data.insert(raw.data.end(), rows.data.begin(), rows.data.end());
      raw.shape[0] += 15;
      ASSERT_EQ(expanded(tensor), raw.data) << name(codec) << ' ' << name(values);
    }
    const HostTable table(tensor);
    EXPECT_EQ(table.table().overflow_bytes == 0, tensor.codec() == Codec::kRaw) << name(codec);
    const auto index = random_index<std::int64_t>(raw.shape[0], 300, 1);
    ASSERT_EQ(gathered(table, index), rows_of(raw, 256, index)) << name(codec);
  }
}

RC_GTEST_PROP(WarpProperty, ExpandingAndGatheringGivesTheBitsThatWereCompressed, ()) {
  const auto dtype = static_cast<DType>(*rc::gen::inRange(0U, kNumDTypes));
  const std::vector<std::uint64_t> shape{*rc::gen::inRange<std::uint64_t>(1, 200),
                                         *rc::gen::inRange<std::uint64_t>(1, 600)};
  const Values values = testing::kAllValues[*rc::gen::inRange<std::size_t>(0, std::size(testing::kAllValues))];
  const OwnedTensor raw = make_tensor(dtype, shape, values, *rc::gen::arbitrary<std::uint64_t>());
  const Codec codec = kCodecs[*rc::gen::inRange<std::size_t>(0, std::size(kCodecs))];
  const CompressedTensor tensor = compressed(raw, codec, *rc::gen::element(Packing::kPacked, Packing::kSlotted));
  const WarpSetup setup{.num_warps = *rc::gen::inRange<std::uint64_t>(1, 9),
                        .num_stages = *rc::gen::inRange(1U, warp::kMaxStages + 1),
                        .batch_items = *rc::gen::inRange(1U, warp::kLanes + 1)};
  RC_ASSERT(expanded(tensor, setup) == raw.data);
  const auto index = *rc::gen::container<std::vector<std::int64_t>>(
      rc::gen::inRange<std::int64_t>(0, static_cast<std::int64_t>(shape[0])));
  RC_ASSERT(gathered(HostTable(tensor), index, setup) == rows_of(raw, tensor.row_bytes(), index));
}

}  // namespace
}  // namespace stillbit
