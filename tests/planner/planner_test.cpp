// What the planner promises: exact prices, the cheapest codec, bits rather than names of dtypes, repeats only where
// they pay, and never much more than the values take as they are.

#include <stillbit/stillbit.hpp>

#include "planner/repeats.hpp"
#include "planner/runs.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

CompressOptions with(std::optional<Packing> packing, Objective objective = Objective::kStorage) {
  CompressOptions options;
  options.packing = packing;
  options.objective = objective;
  return options;
}

std::optional<std::uint64_t> price_of(const CompressedTensor& tensor, Codec codec) {
  const auto prices = tensor.info().prices;
  const auto price = std::find_if(prices.begin(), prices.end(), [&](const auto& p) { return p.codec == codec; });
  if (price == prices.end()) return std::nullopt;
  return price->stored_bytes;
}

constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr std::optional<Packing> kWishes[] = {std::nullopt, Packing::kPacked, Packing::kSlotted};

TEST(Runs, LieApartAndReachTheLastPart) {
  for (const std::uint64_t num_rows : {1ULL, 63ULL, 64ULL, 65ULL, 127ULL, 1000ULL, 100'003ULL}) {
    for (const std::uint64_t num_wanted : {1ULL, 10ULL, 64ULL, 100ULL, 5000ULL}) {
      std::uint64_t end = 0;
      std::uint64_t sum = 0;
      planner::for_each_run(num_rows, 8, 8 * num_wanted, [&](std::uint64_t first, std::uint64_t count) {
        EXPECT_GE(first, end == 0 ? 0 : end - 1);  // where most rows are wanted, a row may be in two runs
        end = first + count;
        sum += count;
      });
      EXPECT_EQ(sum, std::min(num_rows, num_wanted));
      EXPECT_LE(end, num_rows);
      EXPECT_GT(end * planner::kMaxRuns, num_rows * (std::min({planner::kMaxRuns, num_wanted, num_rows}) - 1));
    }
  }
}

TEST(Prices, AreWhatIsWritten) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32}) {
    for (const Values values : testing::kAllValues) {
      for (const auto& shape : {std::vector<std::uint64_t>{150, 64}, {700, 5}, {2, 5001}}) {
        const OwnedTensor raw = make_tensor(dtype, shape, values, 3);
        for (const std::optional<Packing> packing : kWishes) {
          for (const Objective objective :
               {Objective::kStorage, Objective::kTransfer, Objective::kSpeed, Objective::kSmallest}) {
            const CompressedTensor tensor = compress(raw.view(), with(packing, objective));
            const auto price = price_of(tensor, tensor.codec());
            ASSERT_TRUE(price) << name(tensor.codec());
            EXPECT_EQ(*price, tensor.stored_bytes())
                << name(tensor.codec()) << ' ' << name(dtype) << ' ' << testing::name(values) << ' '
                << name(tensor.packing()) << (packing ? "" : ", left open");
          }
        }
      }
    }
  }
}

/// A codec that is asked for by name takes what it was said to take when another was chosen.
TEST(Prices, OfCodecsThatWereNotChosenHoldToo) {
  for (const Values values : {Values::kNormal, Values::kBagOfWords, Values::kSmallInts, Values::kOutliers}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, {400, 256}, values, 4);
    for (const Packing packing : kPackings) {
      const CompressedTensor chosen = compress(raw.view(), with(packing));
      for (const CodecPrice& price : chosen.info().prices) {
        CompressOptions options = with(packing);
        options.codec = price.codec;
        const CompressedTensor tensor = compress(raw.view(), options);
        if (tensor.codec() != price.codec) continue;  // it would have made the tensor larger
        // Smaller tiles are tried with the codec that seems best alone.
        EXPECT_LE(tensor.stored_bytes(), price.stored_bytes) << name(price.codec) << ' ' << testing::name(values);
        EXPECT_GE(tensor.stored_bytes(), chosen.stored_bytes()) << name(price.codec) << ' ' << testing::name(values);
      }
    }
  }
}

TEST(Choice, FollowsTheBits) {
  const OwnedTensor weights = make_tensor(DType::kBF16, {300, 512}, Values::kNormal, 5);
  OwnedTensor integers = weights;
  integers.dtype = DType::kU16;
  OwnedTensor bytes = weights;
  bytes.dtype = DType::kU8;
  bytes.shape = {300, 1024};
  for (const Packing packing : kPackings) {
    const CompressedTensor as_named = compress(weights.view(), with(packing));
    EXPECT_EQ(as_named.codec(), Codec::kEscape);
    EXPECT_EQ(compress(integers.view(), with(packing)).stored_bytes(), as_named.stored_bytes());
    // The bytes of a 16-bit word are two columns to codecs that look at columns of bytes.
    EXPECT_GT(compress(bytes.view(), with(packing)).ratio(), 1.2);
  }
}

TEST(Choice, FindsNarrowNumbersInWideOnes) {
  const OwnedTensor halves = make_tensor(DType::kBF16, {300, 512}, Values::kNormal, 6);
  OwnedTensor floats{DType::kF32, {300, 512}, std::vector<std::byte>(halves.data.size() * 2)};
  for (std::size_t i = 0; i < halves.data.size(); i += 2) std::memcpy(&floats.data[2 * i + 2], &halves.data[i], 2);
  OwnedTensor doubles{DType::kF64, {300, 512}, std::vector<std::byte>(floats.data.size() * 2)};
  OwnedTensor single_precision = make_tensor(DType::kF32, {300, 512}, Values::kNormal, 6);
  for (std::size_t i = 0; i < single_precision.data.size() / 4; ++i) {
    float value = 0;
    std::memcpy(&value, &single_precision.data[4 * i], 4);
    const double wide = value;
    std::memcpy(&doubles.data[8 * i], &wide, 8);
  }
  EXPECT_GT(compress(floats.view(), with(Packing::kPacked)).ratio(),
            1.95 * compress(halves.view(), with(Packing::kPacked)).ratio());
  EXPECT_GT(compress(doubles.view(), with(Packing::kPacked)).ratio(),
            1.9 * compress(single_precision.view(), with(Packing::kPacked)).ratio());
}

TEST(Choice, OfCodecsThatExpandEquallyFastTheSmallestIsTaken) {
  // Of f32, escape and sparse expand equally fast; most of a bag of words is zeros.
  const OwnedTensor raw = make_tensor(DType::kF32, {1000, 500}, Values::kBagOfWords, 1);
  for (const Packing packing : kPackings) {
    const CompressedTensor fastest = compress(raw.view(), with(packing, Objective::kSpeed));
    EXPECT_EQ(fastest.codec(), Codec::kSparse);
    EXPECT_EQ(fastest.stored_bytes(), compress(raw.view(), with(packing)).stored_bytes());
  }
}

TEST(Choice, ObjectivesLeadToWhatTheyNameOrBetter) {
  for (const Values values : testing::kAllValues) {
    const OwnedTensor raw = make_tensor(DType::kBF16, {600, 256}, values, 7);
    for (const Packing packing : kPackings) {
      const CompressedTensor smallest = compress(raw.view(), with(packing, Objective::kStorage));
      const CompressedTensor lightest = compress(raw.view(), with(packing, Objective::kTransfer));
      EXPECT_LE(smallest.stored_bytes(), lightest.stored_bytes());
      EXPECT_GE(lightest.transfer_ratio(), smallest.transfer_ratio() * 0.999);
      const CompressedTensor fastest = compress(raw.view(), with(packing, Objective::kSpeed));
      EXPECT_LE(fastest.stored_bytes(), fastest.raw_bytes() + 256);
    }
  }
}

TEST(Choice, IsNeverMuchLargerThanTheValues) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kF64}) {
    for (const auto& shape : {std::vector<std::uint64_t>{1, 1}, {1, 16}, {100, 3}, {2000, 64}}) {
      const OwnedTensor raw = make_tensor(dtype, shape, Values::kRandomBits, 8);
      for (const Packing packing : kPackings) {
        const CompressedTensor tensor = compress(raw.view(), with(packing));
        EXPECT_EQ(tensor.codec(), Codec::kRaw);
        EXPECT_LE(tensor.stored_bytes(), tensor.raw_bytes() + 256);
      }
    }
  }
}

/// A sample that says nothing of the rest: what it promised does not hold, and the values are stored as they are.
TEST(Choice, SurvivesASampleThatMisleads) {
  OwnedTensor raw = make_tensor(DType::kF32, {4000, 64}, Values::kRandomBits, 9);
  CompressOptions options = with(Packing::kPacked);
  options.max_sample_bytes = 256;
  std::fill_n(raw.data.begin(), 256 * 64, std::byte{0});
  const CompressedTensor tensor = compress(raw.view(), options);
  EXPECT_LE(tensor.stored_bytes(), tensor.raw_bytes() + 256);
  std::vector<std::byte> out(raw.data.size());
  tensor.decompress(out);
  EXPECT_EQ(out, raw.data);
}

TEST(Repeats, AreFoundWhereverTheyAre) {
  std::mt19937_64 random(1);
  for (const std::uint64_t row_bytes : {1, 4, 7, 32, 600}) {
    std::vector<std::byte> rows(500 * row_bytes);
    for (std::byte& b : rows) b = static_cast<std::byte>(random() % 2);
    const planner::Repeats repeats = planner::find_repeats(rows, row_bytes, 2);
    ASSERT_EQ(repeats.map.size(), 500U);
    EXPECT_TRUE(std::is_sorted(repeats.stored_rows.begin(), repeats.stored_rows.end()));
    for (std::size_t row = 0; row < 500; ++row) {
      const std::uint64_t stored = repeats.stored_rows.at(repeats.map[row]);
      EXPECT_LE(stored, row);
      EXPECT_EQ(std::memcmp(&rows[row * row_bytes], &rows[stored * row_bytes], row_bytes), 0);
    }
    for (std::size_t i = 0; i < repeats.stored_rows.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        EXPECT_NE(std::memcmp(&rows[repeats.stored_rows[i] * row_bytes], &rows[repeats.stored_rows[j] * row_bytes],
                              row_bytes),
                  0);
      }
    }
  }
}

/// Rows whose sizes differ widely: row i has up to 19 elements that are not zero.
OwnedTensor bags_of_all_sizes(std::uint64_t num_rows, std::uint64_t columns) {
  OwnedTensor raw = make_tensor(DType::kF32, {num_rows, columns}, Values::kConstant, 1);
  std::fill(raw.data.begin(), raw.data.end(), std::byte{0});
  std::mt19937_64 random(1);
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    for (std::uint64_t i = 0; i < row % 20; ++i) {
      const float one = 1;
      std::memcpy(raw.data.data() + 4 * (row * columns + random() % columns), &one, sizeof one);
    }
  }
  return raw;
}

TEST(Packing, LeftOpenIsPackedWhereSlotsCostTooMuch) {
  const OwnedTensor raw = bags_of_all_sizes(500, 1400);
  const CompressedTensor open = compress(raw.view());
  const CompressedTensor slotted = compress(raw.view(), with(Packing::kSlotted));
  EXPECT_EQ(open.codec(), Codec::kSparse);
  EXPECT_EQ(open.packing(), Packing::kPacked);
  EXPECT_EQ(slotted.packing(), Packing::kSlotted);
  EXPECT_GT(static_cast<double>(slotted.stored_bytes()), 1.06 * static_cast<double>(open.stored_bytes()));
  EXPECT_EQ(plan(raw.view()).packing(), Packing::kPacked);
  EXPECT_EQ(plan(raw.view()).tile_bytes(), raw.view().shape[1] * 4);

  std::vector<std::byte> out(raw.data.size());
  open.decompress(out);
  EXPECT_EQ(out, raw.data);
}

TEST(Packing, LeftOpenIsSlottedElsewhere) {
  for (const auto& shape : {std::vector<std::uint64_t>{1, 256}, {3, 128}, {300, 128}, {20, 5000}, {0, 256}, {200, 0}}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, shape, Values::kNormal, 1);
    EXPECT_EQ(compress(raw.view()).packing(), Packing::kSlotted) << shape[0] << " x " << shape[1];
    EXPECT_EQ(plan(raw.view()).packing(), Packing::kSlotted);
  }
  // Not smaller whatever the packing, and rows that are too short.
  EXPECT_EQ(compress(make_tensor(DType::kF32, {500, 300}, Values::kRandomBits, 1).view()).packing(), Packing::kSlotted);
  EXPECT_EQ(compress(bags_of_all_sizes(500, 60).view()).packing(), Packing::kSlotted);
}

TEST(Packing, LeftOpenNeverCostsMuchMoreThanEither) {
  for (const Values values : testing::kAllValues) {
    for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kI64}) {
      const OwnedTensor raw = make_tensor(dtype, {300, 600}, values, 1);
      const CompressedTensor slotted = compress(raw.view(), with(Packing::kSlotted));
      const CompressedTensor open = compress(raw.view());
      EXPECT_LE(open.stored_bytes(), slotted.stored_bytes()) << testing::name(values) << ' ' << name(dtype);
      EXPECT_EQ(open.packing() == Packing::kSlotted, open.stored_bytes() == slotted.stored_bytes());
    }
  }
}

/// A plan is followed to the packing that it chose, and a wish is obeyed for every codec.
TEST(Packing, IsThatOfThePlanOrTheWish) {
  const OwnedTensor raw = bags_of_all_sizes(300, 700);
  CompressOptions following;
  following.plan = std::make_shared<Plan>(plan(raw.view()));
  EXPECT_EQ(compress(raw.view(), following).packing(), Packing::kPacked);
  EXPECT_EQ(compress(raw.view(), following).stored_bytes(), compress(raw.view()).stored_bytes());
  for (const Packing packing : kPackings) {
    for (const Codec codec : {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse, Codec::kRans}) {
      CompressOptions options = with(packing);
      options.codec = codec;
      EXPECT_EQ(compress(raw.view(), options).packing(), packing) << name(codec);
    }
  }
}

TEST(Packing, LeftOpenSharesTheStorageOfRepeatsWhereSlotsCostTooMuch) {
  const OwnedTensor repeated = make_tensor(DType::kBF16, {3000, 128}, Values::kRepeatedRows, 10);
  const CompressedTensor open = compress(repeated.view());
  EXPECT_EQ(open.packing(), Packing::kPacked);
  EXPECT_EQ(open.stored_bytes(), compress(repeated.view(), with(Packing::kPacked)).stored_bytes());
  std::vector<std::byte> out(repeated.data.size());
  open.decompress(out);
  EXPECT_EQ(out, repeated.data);

  // One row in 25 repeats another: slots cost less than 6 % more.
  OwnedTensor few = make_tensor(DType::kBF16, {3000, 256}, Values::kNormal, 10);
  for (std::ptrdiff_t row = 0; row < 3000; row += 25) std::copy_n(few.data.begin(), 512, few.data.begin() + 512 * row);
  EXPECT_EQ(compress(few.view()).packing(), Packing::kSlotted);
  // Rows that are short.
  const OwnedTensor narrow = make_tensor(DType::kBF16, {3000, 64}, Values::kRepeatedRows, 10);
  EXPECT_EQ(compress(narrow.view()).packing(), Packing::kSlotted);
}

TEST(Repeats, ShareStorageWhereThatPays) {
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kU8}) {
    const OwnedTensor raw = make_tensor(dtype, {3000, 128}, Values::kRepeatedRows, 10);
    EXPECT_GT(compress(raw.view(), with(Packing::kPacked)).ratio(), 100);
  }
}

}  // namespace
}  // namespace stillbit
