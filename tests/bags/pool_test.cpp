// Bags of rows of every codec, packing and dtype.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"
#include "tests/support/pool_reference.hpp"
#include "tests/support/random_bags.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace stillbit {
namespace {

using testing::element_bits;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::pooled_element;
using testing::RandomBags;
using testing::Values;

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};
constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};
constexpr PoolMode kModes[] = {PoolMode::kSum, PoolMode::kMean, PoolMode::kMax};

CompressOptions options_for(Packing packing, std::optional<Codec> codec = {}) {
  CompressOptions options;
  options.packing = packing;
  options.codec = codec;
  return options;
}

std::vector<std::byte> pooled(const CompressedTensor& tensor, const Bags& bags, unsigned num_threads = 1) {
  std::vector<std::byte> out(bags.num_bags() * tensor.row_bytes(), std::byte{0xCD});
  tensor.pool(bags, out, num_threads);
  return out;
}

/// What the bags are, by plain arithmetic on the tensor that was compressed.
std::vector<std::byte> expected(const OwnedTensor& raw, std::uint64_t row_bytes, const RandomBags& given,
                                const Bags& bags) {
  const unsigned width = num_bytes(raw.dtype);
  std::vector<std::byte> out(bags.num_bags() * row_bytes);
  for (std::uint64_t bag = 0; bag < bags.num_bags(); ++bag) {
    std::vector<const std::byte*> rows;
    std::vector<std::uint64_t> weights;
    for (auto i = static_cast<std::uint64_t>(given.offsets[bag]);
         i < static_cast<std::uint64_t>(given.offsets[bag + 1]); ++i) {
      const auto row = static_cast<std::uint64_t>(given.index[i]);
      if (bags.padding_index == row) continue;
      rows.push_back(raw.data.data() + row * row_bytes);
      if (bags.weights) weights.push_back(element_bits(raw.dtype, bags.weights->data(), i));
    }
    for (std::uint64_t column = 0; column < row_bytes / width; ++column) {
      const std::uint64_t bits =
          pooled_element(raw.dtype, bags.mode, rows, weights, bags.padding_index.has_value(), column);
      std::memcpy(out.data() + bag * row_bytes + column * width, &bits, width);
    }
  }
  return out;
}

class PoolDType : public ::testing::TestWithParam<DType> {};

TEST_P(PoolDType, EveryCodecAndPackingGivesTheBags) {
  const DType dtype = GetParam();
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{90, 65}, {700, 3}, {3, 4097}}) {
      const OwnedTensor raw = make_tensor(dtype, shape, values, 2);
      std::vector<CompressedTensor> tensors;
      for (const Codec codec : kCodecs) {
        for (const Packing packing : kPackings) tensors.push_back(compress(raw.view(), options_for(packing, codec)));
      }
      const auto expect_bags = [&](const RandomBags& given, const Bags& bags) {
        const auto wanted = expected(raw, tensors[0].row_bytes(), given, bags);
        for (const CompressedTensor& tensor : tensors)
          EXPECT_EQ(pooled(tensor, bags), wanted)
              << name(tensor.codec()) << ' ' << name(tensor.packing()) << ' ' << name(values) << " mode "
              << static_cast<int>(bags.mode) << " weighted " << bags.weights.has_value() << " padding "
              << bags.padding_index.has_value();
      };
      const RandomBags given(shape[0], shape[1] > 100 ? 2 : 30, 3);
      const OwnedTensor weights = make_tensor(dtype, {given.index.size()}, Values::kNormal, 4);
      for (const std::optional<std::uint64_t> padding : {std::optional<std::uint64_t>(), {2}}) {
        Bags bags = given.bags(PoolMode::kSum);
        bags.padding_index = padding;
        bags.weights = weights.data;
        expect_bags(given, bags);
        bags.weights.reset();
        for (const PoolMode mode : kModes) {
          bags.mode = mode;
          expect_bags(given, bags);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PoolDType, ::testing::ValuesIn(kDTypes),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(Pool, ManyThreadsAndIntegersOfAnyWidthGiveTheSame) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {2000, 256}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  const RandomBags given(2000, 1500, 5);
  const auto one = pooled(tensor, given.bags(PoolMode::kSum), 1);
  const std::vector<std::int32_t> index(given.index.begin(), given.index.end());
  const std::vector<std::int32_t> offsets(given.offsets.begin(), given.offsets.end() - 1);
  Bags narrow = given.bags(PoolMode::kSum);
  narrow.index = std::span(index);
  narrow.offsets = std::span(offsets);
  narrow.has_last_offset = false;
  for (const unsigned num_threads : {2U, 3U, 8U}) {
    EXPECT_EQ(pooled(tensor, given.bags(PoolMode::kSum), num_threads), one);
    EXPECT_EQ(pooled(tensor, narrow, num_threads), one);
  }
}

/// Rows of window in slots are added as they are expanded; those of other codecs are expanded first.
TEST(Pool, RowsInSlotsGiveWhatRawRowsGive) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const std::uint64_t num_columns : {20, 32, 64, 96, 128, 200, 256, 300, 512, 1000}) {
      for (const Values values : {Values::kNormal, Values::kOutliers, Values::kSmallInts}) {
        const OwnedTensor raw = make_tensor(dtype, {500, num_columns}, values, 7);
        const CompressedTensor plain = compress(raw.view(), options_for(Packing::kSlotted, Codec::kRaw));
        const CompressedTensor tensor = compress(raw.view(), options_for(Packing::kSlotted, Codec::kWindow));
        const RandomBags given(500, 120, num_columns);
        for (const PoolMode mode : {PoolMode::kSum, PoolMode::kMean}) {
          Bags bags = given.bags(mode);
          for (const std::optional<std::uint64_t> padding : {std::optional<std::uint64_t>(), {2}}) {
            bags.padding_index = padding;
            for (const unsigned num_threads : {1U, 3U})
              EXPECT_EQ(pooled(tensor, bags, num_threads), pooled(plain, bags))
                  << name(dtype) << ' ' << num_columns << ' ' << name(values) << ' ' << static_cast<int>(mode);
          }
        }
      }
    }
  }
}

TEST(Pool, SeveralTensorsWriteColumnsOfOneResult) {
  const OwnedTensor first_raw = make_tensor(DType::kF32, {300, 16}, Values::kNormal, 1);
  const OwnedTensor second_raw = make_tensor(DType::kF32, {50, 40}, Values::kOutliers, 2);
  const CompressedTensor first = compress(first_raw.view());
  const CompressedTensor second = compress(second_raw.view());
  const RandomBags first_given(300, 25, 1);
  const RandomBags second_given(50, 25, 2);
  const Bags first_bags = first_given.bags(PoolMode::kMean);
  const Bags second_bags = second_given.bags(PoolMode::kMax);
  const std::uint64_t stride = first.row_bytes() + 8 + second.row_bytes();
  std::vector<std::byte> out(25 * stride, std::byte{0xCD});
  const PoolRequest requests[] = {{&first, first_bags, out.data(), stride},
                                  {&second, second_bags, out.data() + first.row_bytes() + 8, stride}};
  pool(requests, 2);
  const auto of_first = expected(first_raw, first.row_bytes(), first_given, first_bags);
  const auto of_second = expected(second_raw, second.row_bytes(), second_given, second_bags);
  for (std::uint64_t bag = 0; bag < 25; ++bag) {
    const std::byte* row = out.data() + bag * stride;
    EXPECT_EQ(std::memcmp(row, of_first.data() + bag * first.row_bytes(), first.row_bytes()), 0);
    EXPECT_EQ(element_bits(DType::kF64, row + first.row_bytes(), 0), 0xCDCDCDCDCDCDCDCD);
    EXPECT_EQ(std::memcmp(row + first.row_bytes() + 8, of_second.data() + bag * second.row_bytes(), second.row_bytes()),
              0);
  }
}

/// The message of the error, and nothing written.
std::string refusal(const CompressedTensor& tensor, const Bags& bags, ErrorCode code) {
  std::vector<std::byte> out(bags.num_bags() * tensor.row_bytes(), std::byte{0xCD});
  const std::vector<std::byte> before = out;
  try {
    tensor.pool(bags, out);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(out, before);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(Pool, RefusesWhatDoesNotFit) {
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  const auto bags_of = [](const std::vector<std::int64_t>& index, const std::vector<std::int64_t>& offsets) {
    Bags bags;
    bags.index = std::span(index);
    bags.offsets = std::span(offsets);
    return bags;
  };
  const std::vector<std::int64_t> index = {1, 2, 3};
  const std::vector<std::int64_t> zero = {0};
  for (const std::int64_t wrong : {std::int64_t{100}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                                   std::numeric_limits<std::int64_t>::max()}) {
    const std::vector<std::int64_t> bad = {1, wrong};
    EXPECT_EQ(refusal(tensor, bags_of(bad, zero), ErrorCode::kOutOfRange),
              "index " + std::to_string(wrong) + " at position 1 is out of range: the tensor has 100 rows");
  }
  const std::vector<std::vector<std::int64_t>> bad_offsets = {{0, 2, 1}, {4}, {-1}, {0, -5}};
  for (const auto& offsets : bad_offsets)
    EXPECT_NE(refusal(tensor, bags_of(index, offsets), ErrorCode::kInvalidArgument).find("is below"),
              std::string::npos);
  const std::vector<std::int64_t> none;
  Bags bags = bags_of(index, none);
  bags.has_last_offset = true;
  refusal(tensor, bags, ErrorCode::kInvalidArgument);

  bags = bags_of(index, zero);
  const std::vector<std::byte> weights(3 * 4);
  bags.weights = std::span(weights).first(8);
  refusal(tensor, bags, ErrorCode::kInvalidArgument);
  bags.weights = weights;
  bags.mode = PoolMode::kMean;
  EXPECT_EQ(refusal(tensor, bags, ErrorCode::kInvalidArgument), "rows are weighted in sums only");

  std::vector<std::byte> small(31);
  EXPECT_THROW(tensor.pool(bags_of(index, zero), small), Error);
  const PoolRequest overlapping{&tensor, bags_of(index, zero), small.data(), 31};
  EXPECT_THROW(pool({&overlapping, 1}), Error);
  const OwnedTensor integers = make_tensor(DType::kI32, {10, 8}, Values::kSmallInts, 1);
  EXPECT_EQ(refusal(compress(integers.view()), bags_of(index, zero), ErrorCode::kUnsupported),
            "rows of F16, BF16, F32 and F64 can be pooled, not of I32");
}

TEST(Pool, NamesTheTableOfSeveral) {
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  const std::vector<std::int64_t> offsets = {0};
  const std::vector<std::int64_t> good = {5};
  const std::vector<std::int64_t> bad = {500};
  std::vector<std::byte> out(2 * 32, std::byte{0xCD});
  Bags bags;
  bags.offsets = std::span(offsets);
  bags.index = std::span(good);
  std::vector<PoolRequest> requests{{&tensor, bags, out.data(), 32}};
  bags.index = std::span(bad);
  requests.push_back({&tensor, bags, out.data() + 32, 32});
  try {
    pool(requests);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "table 1: index 500 at position 0 is out of range: the tensor has 100 rows");
  }
  EXPECT_EQ(out, std::vector<std::byte>(64, std::byte{0xCD}));
}

}  // namespace
}  // namespace stillbit
