#include "codecs/sparse/kernels.hpp"
#include "codecs/sparse/layout.hpp"
#include "codecs/sparse/sparse.hpp"
#include "core/bits.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <random>

namespace stillbit::sparse {
namespace {

using testing::decoded;
using testing::encoded;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Row;
using testing::row_of;
using testing::stream_of;
using testing::Values;

/// The same numbers for the same seed on every machine.
std::mt19937_64 random_numbers(std::uint64_t seed) {
  return std::mt19937_64(seed);
}

/// The example of spec.md.
Plan example_plan() {
  return {.row_bytes = 16, .view_bytes = 2, .low_bits = 2, .code_bits = 1, .values = {0x3C00, 0xBC00}};
}

TEST(SparseRow, IsWhatTheSpecificationShows) {
  const auto codec = make(example_plan());
  EXPECT_EQ(codec->minimum_row_bytes(), 1U);

  const auto plain = row_of({0, 0, 0x3C00, 0, 0, 0xBC00, 0, 0});
  const auto stored = encoded(*codec, plain);
  EXPECT_EQ(stored, stream_of({{0b0101, 4}, {2, 2}, {0, 1}, {1, 2}, {1, 1}, {0, 1}}));
  EXPECT_EQ(stored.size(), 2U);
  EXPECT_EQ(decoded(*codec, stored, 16), plain);

  const auto odd = row_of({0, 0, 0x3C00, 0, 0, 0xBC00, 0, 0x7E01});
  const auto with_exception = encoded(*codec, odd);
  EXPECT_EQ(with_exception,
            stream_of({{0b0101, 4}, {2, 2}, {0, 1}, {1, 2}, {1, 1}, {1, 1}, {7, 3}, {0x7E01, 16}, {0, 1}}));
  EXPECT_EQ(with_exception.size(), 4U);
  EXPECT_EQ(decoded(*codec, with_exception, 16), odd);

  const auto zeros = row_of({0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(encoded(*codec, zeros), stream_of({{0, 3}}));
  EXPECT_EQ(decoded(*codec, encoded(*codec, zeros), 16), zeros);
}

TEST(SparseRow, BitmapAndWindowAreWhatTheSpecificationSays) {
  // 0xBC00 has the sign 1 and, above 8 zeros, the magnitude 0x3C: 2 above the base.
  const auto codec = make({.row_bytes = 16,
                           .view_bytes = 2,
                           .low_bits = 0,
                           .code_bits = 4,
                           .value_mode = ValueMode::kWindow,
                           .sign_bits = 1,
                           .zero_bits = 8,
                           .background = 0x1234,
                           .values = {0x3A}});
  const auto row = row_of({0x1234, 0xBC00, 0x1234, 0x3A00, 0x3A01, 0x1234, 0x1234, 0x1234});
  const auto stored = encoded(*codec, row);
  EXPECT_EQ(stored, stream_of({{0b00001010, 8}, {2 << 1 | 1, 4}, {0, 4}, {1, 1}, {4, 3}, {0x3A01, 16}, {0, 1}}));
  EXPECT_EQ(decoded(*codec, stored, 16), row);
}

TEST(SparseRow, DistancesWrapAround) {
  // -4 … 3 as 16-bit integers, in 3 bits.
  const auto codec = make({.row_bytes = 16,
                           .view_bytes = 2,
                           .low_bits = 2,
                           .code_bits = 3,
                           .value_mode = ValueMode::kWindow,
                           .values = {0xFFFC}});
  const auto row = row_of({0, 0xFFFC, 3, 0xFFFF, 0, 0, 1, 0});
  const auto stored = encoded(*codec, row);
  EXPECT_EQ(stored.size(), (2 + 4 * (1 + 2 + 3) + 1 + 7) / 8);
  EXPECT_EQ(decoded(*codec, stored, 16), row);
}

TEST(SparseRow, ARowThatDoesNotBecomeSmallerIsRaw) {
  const auto codec = make(example_plan());
  const auto row = row_of({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(encoded(*codec, row), row);
  EXPECT_EQ(decoded(*codec, row, 16, true), row);
}

TEST(SparseRow, TooShortARowIsMalformed) {
  const auto codec = make(example_plan());
  const auto stored = encoded(*codec, row_of({0x3C00, 0xBC00, 1, 0, 0, 0, 0, 0xBC00}));
  ASSERT_LT(stored.size(), 16U);
  for (std::size_t size = 0; size < stored.size(); ++size) {
    const std::vector<std::byte> part(stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(decoded(*codec, part, 16), std::nullopt);
  }
}

TEST(SparseRow, WhatFollowsItHasNoMeaning) {
  const auto codec = make(example_plan());
  const auto row = row_of({0x3C00, 0xBC00, 1, 0, 0, 0, 0, 0xBC00});
  auto stored = encoded(*codec, row);
  stored.resize(15, std::byte{0xFF});
  EXPECT_EQ(decoded(*codec, stored, 16), row);
}

TEST(SparseRow, EveryBrokenRuleIsFound) {
  const auto codec = make(example_plan());
  // Seven columns, so that the last bucket has room for one that is not there; three values, so that code 3 has none.
  const auto odd =
      make({.row_bytes = 14, .view_bytes = 2, .low_bits = 2, .code_bits = 2, .values = {0x3C00, 0xBC00, 5}});
  EXPECT_NE(decoded(*odd, stream_of({{0b010, 3}, {2, 2}, {2, 2}, {0, 1}}), 14), std::nullopt);
  EXPECT_EQ(decoded(*odd, stream_of({{0b010, 3}, {3, 2}, {0, 2}, {0, 1}}), 14), std::nullopt) << "column 7";
  EXPECT_EQ(decoded(*odd, stream_of({{0b010, 3}, {2, 2}, {3, 2}, {0, 1}}), 14), std::nullopt) << "code 3";
  EXPECT_EQ(decoded(*odd, stream_of({{0, 2}, {1, 1}, {7, 3}, {9, 16}, {0, 1}}), 14), std::nullopt) << "column 7";
  EXPECT_NE(decoded(*odd, stream_of({{0, 2}, {1, 1}, {6, 3}, {9, 16}, {0, 1}}), 14), std::nullopt);

  EXPECT_NE(decoded(*codec, stream_of({{0b0011, 4}, {1, 3}, {2, 3}, {0, 1}}), 16), std::nullopt);
  EXPECT_EQ(decoded(*codec, stream_of({{0b0011, 4}, {2, 3}, {2, 3}, {0, 1}}), 16), std::nullopt) << "equal columns";
  EXPECT_EQ(decoded(*codec, stream_of({{0b0011, 4}, {2, 3}, {1, 3}, {0, 1}}), 16), std::nullopt) << "descending";
  const auto exceptions = [&](std::uint64_t first, std::uint64_t second) {
    const auto stored =
        stream_of({{0, 2}, {1, 1}, {first, 3}, {0xABCD, 16}, {1, 1}, {second, 3}, {0x1234, 16}, {0, 1}});
    return decoded(*codec, stored, 16);
  };
  EXPECT_NE(exceptions(1, 2), std::nullopt);
  EXPECT_EQ(exceptions(2, 2), std::nullopt);
  EXPECT_EQ(exceptions(3, 2), std::nullopt);
  // More elements than columns cannot ascend; ones without end have no last bucket.
  EXPECT_EQ(decoded(*codec, std::vector<std::byte>(15, std::byte{0xFF}), 16), std::nullopt);
  EXPECT_EQ(decoded(*codec, {}, 16), std::nullopt);

  // An exception wins over an element.
  const auto both = decoded(*codec, stream_of({{0b001, 3}, {1, 3}, {1, 1}, {1, 3}, {7, 16}, {0, 1}}), 16);
  EXPECT_EQ(both, row_of({0, 7, 0, 0, 0, 0, 0, 0}));
}

TEST(SparseRow, DecodingStopsAtTheFirstMalformedRow) {
  const auto codec = make(example_plan());
  auto good = encoded(*codec, row_of({0, 0, 0, 0, 0, 0, 0, 0x3C00}));
  const std::uint64_t size = good.size();
  good.resize(size + RowCodec::kSlack);
  const StoredRow rows[] = {{good.data(), size, false}, {good.data(), 0, false}, {good.data(), size, false}};
  std::vector<std::byte> dst(3 * 16);
  EXPECT_EQ(codec->decode(rows, 3, dst.data()), 1U);
}

TEST(SparsePlan, ComesBack) {
  Plan plan = example_plan();
  plan.background = 0xABCD;
  const auto bytes = serialize(plan);
  EXPECT_EQ(bytes.size(), serialized_bytes(plan));
  const Plan back = unwrap(parse(bytes, 16));
  EXPECT_EQ(back.view_bytes, 2U);
  EXPECT_EQ(back.low_bits, 2U);
  EXPECT_EQ(back.code_bits, 1U);
  EXPECT_EQ(back.value_mode, ValueMode::kDictionary);
  EXPECT_EQ(back.background, 0xABCDU);
  EXPECT_EQ(back.values, plan.values);
}

TEST(SparsePlan, EveryBrokenRuleIsNamed) {
  Plan window = example_plan();
  window.value_mode = ValueMode::kWindow;
  window.sign_bits = 1;
  window.zero_bits = 8;
  window.code_bits = 4;
  window.values = {0x7F};
  ASSERT_TRUE(open(serialize(window), 16).ok());
  ASSERT_TRUE(open(serialize(example_plan()), 16).ok());

  const auto expect_fault = [](const char* field, const Plan& plan, std::uint64_t row_bytes,
                               const std::function<void(std::vector<std::byte>&)>& breaking) {
    auto bytes = serialize(plan);
    breaking(bytes);
    const auto result = open(bytes, row_bytes);
    ASSERT_FALSE(result.ok()) << field;
    EXPECT_NE(result.fault().message.find(field), std::string::npos) << result.fault().message;
  };
  const auto set = [](std::size_t at, int value) {
    return [=](std::vector<std::byte>& bytes) { bytes[at] = static_cast<std::byte>(value); };
  };
  const Plan dictionary = example_plan();
  expect_fault("view_bytes", dictionary, 16, set(0, 3));
  expect_fault("view_bytes", dictionary, 16, set(0, 0));
  expect_fault("view_bytes", dictionary, 16, set(0, 16));
  expect_fault("view_bytes", dictionary, 15, set(0, 2));
  expect_fault("low_bits", dictionary, 16, set(1, 4));
  expect_fault("code_bits", dictionary, 16, set(2, 2));
  expect_fault("code_bits", dictionary, 16, set(2, 0));
  expect_fault("value_mode", dictionary, 16, set(3, 2));
  expect_fault("sign_bits", dictionary, 16, set(4, 1));
  expect_fault("zero_bits", dictionary, 16, set(5, 1));
  expect_fault("reserved", dictionary, 16, set(7, 1));
  expect_fault("num_values", dictionary, 16, set(8, 0));
  expect_fault("num_values", dictionary, 16, set(11, 1));
  expect_fault("instead of", dictionary, 16, [](auto& bytes) { bytes.pop_back(); });
  expect_fault("instead of", dictionary, 16, [](auto& bytes) { bytes.push_back({}); });
  expect_fault("shorter", dictionary, 16, [](auto& bytes) { bytes.resize(11); });
  expect_fault("row_bytes", dictionary, 0, [](auto&) {});
  expect_fault("row_bytes", dictionary, kMaxRowBytes + 2, [](auto&) {});
  Plan bitmap = dictionary;
  bitmap.view_bytes = 1;
  bitmap.low_bits = 0;
  expect_fault("no row smaller", bitmap, 1, [](auto&) {});
  expect_fault("num_values", window, 16, set(8, 2));
  expect_fault("sign_bits", window, 16, set(4, 2));
  expect_fault("zero_bits", window, 16, set(5, 15));
  expect_fault("code_bits", window, 16, set(2, 0));
  expect_fault("code_bits", window, 16, set(2, 9));
  expect_fault("base", window, 16, set(14, 0x80));
}

/// A codec for a tensor, with the plan that its words give.
std::unique_ptr<RowCodec> planned(const OwnedTensor& tensor, std::uint64_t row_bytes) {
  const BitStatistics statistics(row_bytes);
  return plan(
      {{tensor.data.size() / row_bytes, row_bytes}, num_bytes(tensor.dtype), row_bytes, statistics, tensor.data, true});
}

std::uint64_t stored_bytes(const RowCodec& codec, const OwnedTensor& tensor, std::uint64_t row_bytes) {
  std::vector<std::uint32_t> sizes(tensor.data.size() / row_bytes);
  codec.measure(tensor.data.data(), sizes.size(), sizes.data());
  std::uint64_t sum = codec.plan().size();
  for (const std::uint32_t size : sizes) sum += size;
  return sum;
}

TEST(SparsePlanner, ABagOfWordsStoresNoValues) {
  const OwnedTensor tensor = make_tensor(DType::kF32, {1000, 1024}, Values::kBagOfWords, 1);
  const auto codec = planned(tensor, 4096);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 4096));
  EXPECT_EQ(plan.view_bytes, 4U);
  EXPECT_EQ(plan.code_bits, 0U);
  EXPECT_EQ(plan.background, 0U);
  // The entropy of a place is 145 bits for 1,024 columns of which 1 in 50 is not 0.
  EXPECT_LT(stored_bytes(*codec, tensor, 4096), 1000U * 24);
}

TEST(SparsePlanner, AnOddValueDoesNotMakeItsRowRaw) {
  OwnedTensor tensor = make_tensor(DType::kF32, {1000, 1024}, Values::kBagOfWords, 1);
  const auto codec = planned(tensor, 4096);
  const std::uint64_t before = stored_bytes(*codec, tensor, 4096);
  store(tensor.data.data() + 4096 + 400, 0x7FC12345U);
  EXPECT_LE(stored_bytes(*codec, tensor, 4096), before + 6);
  EXPECT_LE(stored_bytes(*planned(tensor, 4096), tensor, 4096), before + 6);
}

TEST(SparsePlanner, DenseRowsGetABitmap) {
  std::mt19937_64 random = random_numbers(1);
  OwnedTensor tensor = make_tensor(DType::kF32, {1000, 256}, Values::kNormal, 1);
  for (std::size_t i = 0; i < tensor.data.size(); i += 4) {
    if (random() % 5 < 3) store(tensor.data.data() + i, 0U);
  }
  const auto codec = planned(tensor, 1024);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 1024));
  EXPECT_EQ(plan.low_bits, 0U);
  EXPECT_EQ(plan.value_mode, ValueMode::kWindow);
}

TEST(SparsePlanner, RowsOfNothingButBackgroundTakeAByte) {
  const OwnedTensor tensor = make_tensor(DType::kI64, {1000, 64}, Values::kConstant, 1);
  const auto codec = planned(tensor, 512);
  ASSERT_NE(codec, nullptr);
  EXPECT_LE(stored_bytes(*codec, tensor, 512), 1000U + codec->plan().size());
}

TEST(SparsePlanner, RandomBitsGetNoPlan) {
  EXPECT_EQ(planned(make_tensor(DType::kU32, {1000, 32}, Values::kRandomBits, 1), 128), nullptr);
}

TEST(SparsePlanner, RowsOfEveryWidthComeBack) {
  for (std::uint64_t row_bytes = 1; row_bytes <= 200; ++row_bytes) {
    const OwnedTensor tensor = make_tensor(DType::kU8, {40, row_bytes}, Values::kBagOfWords, row_bytes);
    const auto codec = planned(tensor, row_bytes);
    if (row_bytes > 8) {
      ASSERT_NE(codec, nullptr) << row_bytes;
    }
    if (!codec) continue;
    ASSERT_LT(stored_bytes(*codec, tensor, row_bytes), tensor.data.size());
    for (std::size_t i = 0; i < 40; ++i) {
      const auto first = tensor.data.begin() + static_cast<std::ptrdiff_t>(i * row_bytes);
      const std::vector<std::byte> row(first, first + static_cast<std::ptrdiff_t>(row_bytes));
      const auto stored = encoded(*codec, row);
      ASSERT_EQ(decoded(*codec, stored, row_bytes, stored.size() == row_bytes), row);
    }
  }
}

TEST(SparsePlanner, RowsPastTheCachesBeginAnywhereUpToTheFirstMalformedOne) {
  constexpr std::uint64_t kNumRows = 60;
  // Few or many of them are staged together, or they are too long for that.
  for (const std::uint64_t row_bytes : {12U, 700U, 4100U, 20000U}) {
    const OwnedTensor tensor = make_tensor(DType::kU8, {kNumRows, row_bytes}, Values::kBagOfWords, 5);
    const auto codec = planned(tensor, row_bytes);
    ASSERT_NE(codec, nullptr);
    testing::StoredRows stored(*codec, tensor.data, row_bytes);
    std::vector<StoredRow>& rows = stored.rows;
    for (const std::uint64_t misaligned_by : {0U, 1U, 16U, 63U})
      ASSERT_EQ(testing::decoded_past_caches(*codec, rows, row_bytes, misaligned_by), stored.raw) << row_bytes;
    rows[45].num_bytes = 0;
    rows[45].is_raw = false;
    Row memory(kNumRows * row_bytes + RowCodec::kSlack);
    ASSERT_EQ(codec->decode_past_caches(rows.data(), kNumRows, memory.data()), 45) << row_bytes;
    ASSERT_TRUE(
        std::equal(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(45 * row_bytes), tensor.data.begin()));
  }
}

TEST(SparsePlanner, EveryKindOfValueComesBack) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kF64}) {
    for (const Values values : testing::kAllValues) {
      const std::uint64_t row_bytes = 96 * num_bytes(dtype);
      const OwnedTensor tensor = make_tensor(dtype, {60, 96}, values, 3);
      const auto codec = planned(tensor, row_bytes);
      if (!codec) continue;
      std::vector<std::uint32_t> sizes(60);
      codec->measure(tensor.data.data(), 60, sizes.data());
      for (std::size_t i = 0; i < 60; ++i) {
        const auto first = tensor.data.begin() + static_cast<std::ptrdiff_t>(i * row_bytes);
        const std::vector<std::byte> row(first, first + static_cast<std::ptrdiff_t>(row_bytes));
        const auto stored = encoded(*codec, row);
        ASSERT_EQ(stored.size(), sizes[i]);
        ASSERT_EQ(decoded(*codec, stored, row_bytes, stored.size() == row_bytes), row);
      }
    }
  }
}

}  // namespace
}  // namespace stillbit::sparse
