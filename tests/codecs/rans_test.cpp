#include "codecs/rans/rans.hpp"
#include "core/bits.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <random>

namespace stillbit::rans {
namespace {

using testing::decoded;
using testing::encoded;
using testing::isas;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Row;
using testing::Values;

/// The example of spec.md.
Plan example_plan() {
  Plan plan;
  plan.row_bytes = 200;
  plan.view_bytes = 2;
  plan.sign_bits = 1;
  plan.symbol_bits = 8;
  plan.scale_bits = 8;
  plan.num_column_levels = 2;
  plan.runs = {2, 0x78, 0};
  plan.column_levels.assign(100, 0);
  plan.column_levels.back() = 1;
  plan.frequencies = {{256, 0}, {192, 64}};
  return plan;
}

Row example_row() {
  Row row(200);
  for (unsigned i = 0; i < 99; ++i) store(row.data() + std::size_t{2} * i, static_cast<std::uint16_t>(0x3C00 + i));
  store(row.data() + 198, std::uint16_t{0x3CE3});
  return row;
}

/// What the example's row is stored as.
Row example_stored() {
  Row stored(164);
  for (unsigned j = 0; j < 32; ++j)
    store(stored.data() + std::size_t{4} * j, 0x10000U + (37 + 2 * j) * 256 + 36 + 2 * j);
  store(stored.data() + 12, std::uint32_t{0x4ACEA});
  for (unsigned i = 0; i < 36; ++i) stored[128 + i] = static_cast<std::byte>(i);
  return stored;
}

TEST(RansRow, IsWhatTheSpecificationShows) {
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(example_plan(), isa);
    EXPECT_EQ(codec->minimum_row_bytes(), 164U);
    EXPECT_EQ(encoded(*codec, example_row()), example_stored());
    EXPECT_EQ(decoded(*codec, example_stored(), 200), example_row());
  }
}

TEST(RansPlan, IsWhatTheSpecificationShows) {
  const Row bytes = serialize(example_plan());
  const std::uint16_t numbers[] = {2, 2, 0x78, 0};
  EXPECT_EQ(std::memcmp(bytes.data() + 8, numbers, sizeof numbers), 0);
  ASSERT_EQ(bytes.size(), 24U + 50 + 10);
  EXPECT_EQ(bytes[73], std::byte{0x10});
  // 17 ones and a zero, 8 zeros; 18 ones and a zero. 15 ones and a zero, 0x40; 2 ones and a zero, 6 zeros.
  Row tables(10);
  std::uint64_t at = 0;
  for (const auto& [ones, low, width] : {std::array<unsigned, 3>{17, 0, 8}, {18, 0, 0}, {15, 0x40, 7}, {2, 0, 6}}) {
    store_bits(tables.data(), at, ones, (1U << ones) - 1);
    store_bits(tables.data(), at + ones + 1, width, low);
    at += ones + 1 + width;
  }
  EXPECT_EQ(at, 77U);
  EXPECT_TRUE(std::equal(tables.begin(), tables.end(), bytes.begin() + 74));
}

TEST(RansRow, AWordThatThePlanHasNoPlaceForMakesARowRaw) {
  Plan plan = example_plan();
  plan.dropped_bits = 1;
  plan.symbol_bits = 7;
  plan.runs = {2, 0x3C, 0};
  plan.num_column_levels = 1;
  plan.column_levels.clear();
  plan.frequencies = {{255, 1}};
  Row row(200);
  for (unsigned i = 0; i < 100; ++i) store(row.data() + std::size_t{2} * i, std::uint16_t{0x3C10});
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    EXPECT_LT(encoded(*codec, row).size(), 200U);
    EXPECT_EQ(decoded(*codec, encoded(*codec, row), 200), row);
    for (const std::uint16_t word : std::initializer_list<std::uint16_t>{0x3C11, 0x3B10, 0x3F10, 0x7C10}) {
      Row odd = row;
      store(odd.data() + 100, word);
      EXPECT_EQ(encoded(*codec, odd), odd);
    }
  }
}

TEST(RansRow, WhatATableLacksEscapes) {
  Plan plan = example_plan();
  plan.row_bytes = 400;
  plan.has_escapes = true;
  plan.column_levels.assign(200, 0);
  plan.column_levels[199] = 1;
  plan.frequencies = {{254, 0, 2}, {192, 63, 1}};
  Row row(400);
  for (unsigned i = 0; i < 200; ++i) store(row.data() + std::size_t{2} * i, std::uint16_t{0x3C12});
  store(row.data() + 10, std::uint16_t{0xFFFF});
  store(row.data() + 60, std::uint16_t{0x3C92});   // of the second symbol, which the first table lacks
  store(row.data() + 398, std::uint16_t{0x3C92});  // and which the second has
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    const Row stored = encoded(*codec, row);
    ASSERT_LT(stored.size(), 400U);
    EXPECT_EQ(load<std::uint16_t>(stored.data() + 128), 2U);
    const std::size_t escapes_at = 128 + 2 + 200 - 64;
    EXPECT_EQ(stored[escapes_at], std::byte{0xFF});
    EXPECT_EQ(stored[escapes_at + 1], std::byte{0x79});
    EXPECT_EQ(decoded(*codec, stored, 400), row);

    // Fewer escapes than columns ask for, and more than the row has.
    Row fewer = stored;
    store(fewer.data() + 128, std::uint16_t{1});
    EXPECT_EQ(decoded(*codec, fewer, 400), std::nullopt);
    Row more = stored;
    store(more.data() + 128, std::uint16_t{0xFFFF});
    EXPECT_EQ(decoded(*codec, more, 400), std::nullopt);
  }
}

TEST(RansRow, StatesThatDoNotEndAsTheyMustAreMalformed) {
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(example_plan(), isa);
    for (const std::size_t byte : {2U, 3U, 14U, 127U}) {
      Row stored = example_stored();
      stored[byte] ^= std::byte{0x80};
      EXPECT_EQ(decoded(*codec, stored, 200), std::nullopt);
    }
    for (std::size_t size = 0; size < 164; size += 7) {
      Row stored = example_stored();
      stored.resize(size);
      EXPECT_EQ(decoded(*codec, stored, 200), std::nullopt);
    }
    Row followed = example_stored();
    followed.resize(180, std::byte{0xEE});
    EXPECT_EQ(decoded(*codec, followed, 200), example_row());
  }
}

TEST(RansPlan, EveryBrokenRuleIsNamed) {
  Plan plan = example_plan();
  plan.num_segment_levels = 2;
  plan.segment_columns = 50;
  plan.frequencies = {{256, 0}, {192, 64}, {128, 128}};
  const Row good = serialize(plan);
  const auto expect_fault = [&](const std::string& field, std::uint64_t row_bytes,
                                const std::function<void(Row&)>& change) {
    Row bytes = good;
    change(bytes);
    const auto result = open(bytes, row_bytes);
    ASSERT_FALSE(result.ok()) << field;
    EXPECT_NE(result.fault().message.find(field), std::string::npos) << result.fault().message;
  };
  const auto set = [](std::size_t at, unsigned value) {
    return [=](Row& bytes) { bytes[at] = static_cast<std::byte>(value); };
  };
  ASSERT_TRUE(open(good, 200).ok());
  expect_fault("view_bytes", 200, set(0, 3));
  expect_fault("view_bytes", 201, [](Row&) {});
  expect_fault("sign_bits", 200, set(1, 2));
  expect_fault("symbol_bits", 200, set(2, 1));
  expect_fault("symbol_bits", 200, set(2, 15));
  expect_fault("dropped_bits", 200, set(3, 8));
  expect_fault("scale_bits", 200, set(4, 7));
  expect_fault("scale_bits", 200, set(4, 13));
  expect_fault("has_escapes", 200, set(5, 2));
  expect_fault("num_segment_levels", 200, set(6, 0));
  expect_fault("num_segment_levels", 200, set(6, 17));
  expect_fault("num_column_levels", 200, set(7, 0));
  expect_fault("num_column_levels", 200, set(7, 16));
  expect_fault("num_symbols", 200, set(8, 0));
  expect_fault("num_symbols", 200, set(9, 2));
  expect_fault("num_first", 200, set(10, 3));
  expect_fault("first_symbol", 200, set(13, 1));
  expect_fault("second_symbol", 200, set(15, 1));
  expect_fault("segment_columns", 200, set(16, 0));
  expect_fault("segment_columns", 200, set(16, 101));
  expect_fault("segment_columns", 200, set(6, 1));
  expect_fault("period", 200, set(20, 0));
  expect_fault("period", 200, set(20, 99));
  expect_fault("column_levels", 200, set(24, 2));
  expect_fault("2^scale_bits", 200, set(4, 9));
  expect_fault("tables", 200, [](Row& bytes) { bytes.pop_back(); });
  expect_fault("tables", 200, [](Row& bytes) { bytes.push_back({}); });
  expect_fault("too large", 200, set(76, 0xFF));
  expect_fault("plan_bytes", 200, [](Row& bytes) { bytes.resize(60); });
  expect_fault("too few", 200, [](Row& bytes) { bytes.resize(23); });
  expect_fault("row_bytes", 0, [](Row&) {});
  expect_fault("row_bytes", 65600, [](Row&) {});
  Row small = serialize(plan);
  small[16] = std::byte{1};  // 100 segments: a level each
  EXPECT_TRUE(open(small, 200).ok());
  Plan tiny = example_plan();
  tiny.row_bytes = 100;
  tiny.column_levels.assign(50, 0);
  EXPECT_FALSE(open(serialize(tiny), 100).ok()) << "makes no row smaller";
}

TEST(RansTables, FrequenciesComeBackAndAreNeverZeroWhereACountIsNot) {
  std::mt19937_64 random(3);  // NOLINT(bugprone-random-generator-seed): the same tables in every run
  for (unsigned scale_bits = kMinScaleBits; scale_bits <= kMaxScaleBits; ++scale_bits) {
    for (const std::size_t num_symbols : {1U, 2U, 17U, 256U}) {
      std::vector<Frequencies> tables;
      for (unsigned kind = 0; kind < 4; ++kind) {
        std::vector<double> counts(num_symbols);
        for (double& count : counts) {
          count = kind == 0 ? 1 : static_cast<double>(random() % 1000);
          if (kind == 2 && random() % 2 == 0) count = 0;
          if (kind == 3) count = std::exp2(static_cast<double>(random() % 40));
        }
        counts.front() += 1;
        tables.push_back(normalized(counts, scale_bits));
        EXPECT_EQ(std::accumulate(tables.back().begin(), tables.back().end(), 0U), 1U << scale_bits);
        for (std::size_t i = 0; i < num_symbols; ++i) EXPECT_EQ(tables.back()[i] == 0, counts[i] == 0);
      }
      const std::vector<std::byte> bytes = write_tables(tables);
      TableFault fault{};
      EXPECT_EQ(read_tables(bytes, 4, static_cast<unsigned>(num_symbols), scale_bits, fault), tables);
    }
  }
}

/// A codec for a tensor whose rows are tiles, with the plan that its words give.
std::unique_ptr<RowCodec> planned(const OwnedTensor& tensor, std::uint64_t row_bytes, std::uint64_t period_bytes,
                                  bool is_whole = true) {
  const BitStatistics statistics(row_bytes);
  return plan({{tensor.data.size() / row_bytes, row_bytes},
               num_bytes(tensor.dtype),
               period_bytes,
               statistics,
               tensor.data,
               is_whole});
}

/// Stores and expands every row with every instruction set; all must agree. Returns the bytes of plan and rows.
std::uint64_t stored_bytes(const RowCodec& codec, const OwnedTensor& tensor, std::uint64_t row_bytes) {
  const Plan plan = unwrap(parse(codec.plan(), row_bytes));
  return testing::stored_bytes(codec, tensor.data, row_bytes, [&](cpu::Isa isa) { return make(plan, isa); });
}

TEST(RansPlanner, NormalNumbersTakeTheirEntropy) {
  constexpr std::uint64_t kTileBytes = 65536;
  const OwnedTensor tensor = make_tensor(DType::kBF16, {512, 512}, Values::kNormal, 1);
  const auto codec = planned(tensor, kTileBytes, 1024);
  ASSERT_NE(codec, nullptr);
  // That of the exponent and of the mantissa's first two bits; the other bits are as even as the sign.
  constexpr double kNumWords = 512 * 512;
  constexpr unsigned kOtherBits = 6;
  std::vector<double> counts(1024);
  for (std::size_t i = 0; i < tensor.data.size(); i += 2)
    counts[load<std::uint16_t>(tensor.data.data() + i) >> 5 & 0x3FF] += 1;
  double entropy = kNumWords * kOtherBits;
  for (const double count : counts) entropy -= count > 0 ? count * std::log2(count / kNumWords) : 0;
  EXPECT_LT(8 * static_cast<double>(stored_bytes(*codec, tensor, kTileBytes)), 1.002 * entropy);
}

/// Numbers of which rows, or columns, have scales of their own.
OwnedTensor scaled(bool by_row, bool by_column) {
  OwnedTensor tensor = make_tensor(DType::kF32, {256, 128}, Values::kNormal, 1);
  for (std::size_t i = 0; i < tensor.data.size() / 4; ++i) {
    double scale = 1;
    if (by_row) scale *= std::exp2(static_cast<double>(i / 128 * 29 % 64) / 8);
    if (by_column) scale *= std::exp2(static_cast<double>(i % 128 * 37 % 64) / 8);
    const float value = load<float>(tensor.data.data() + 4 * i) * static_cast<float>(scale);
    store(tensor.data.data() + 4 * i, value);
  }
  return tensor;
}

TEST(RansPlanner, RowsAndColumnsOfDifferentScaleHaveLevels) {
  constexpr std::uint64_t kTileBytes = 16384;
  const auto size_of = [&](const OwnedTensor& tensor, bool has_segments, bool has_columns) {
    const auto codec = planned(tensor, kTileBytes, 512);
    EXPECT_NE(codec, nullptr);
    const Plan plan = unwrap(parse(codec->plan(), kTileBytes));
    EXPECT_EQ(plan.num_segment_levels > 1, has_segments);
    EXPECT_EQ(plan.num_column_levels > 1, has_columns);
    return stored_bytes(*codec, tensor, kTileBytes);
  };
  const std::uint64_t even = size_of(scaled(false, false), false, false);
  // One table for all scales would take 10 to 12 % more.
  EXPECT_LT(size_of(scaled(true, false), true, false) * 100, even * 103);
  EXPECT_LT(size_of(scaled(false, true), false, true) * 100, even * 103);
  EXPECT_LT(size_of(scaled(true, true), true, true) * 100, even * 104);
}

TEST(RansPlanner, RandomBitsGetNoPlan) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kU32, DType::kF64}) {
    const OwnedTensor tensor = make_tensor(dtype, {1000, 32}, Values::kRandomBits, 1);
    EXPECT_EQ(planned(tensor, 3200 * num_bytes(dtype), 32 * num_bytes(dtype)), nullptr);
  }
}

TEST(RansPlanner, WhatASampleDidNotShowEscapes) {
  const OwnedTensor sample = make_tensor(DType::kBF16, {64, 512}, Values::kNormal, 1);
  const auto codec = planned(sample, 16384, 1024, false);
  ASSERT_NE(codec, nullptr);
  OwnedTensor other = make_tensor(DType::kBF16, {64, 512}, Values::kNormal, 2);
  for (const std::size_t i : {0U, 5001U, 12000U}) store(other.data.data() + 2 * i, std::uint16_t{0x7FC1});
  EXPECT_LT(stored_bytes(*codec, other, 16384) * 10, other.data.size() * 7);
}

TEST(RansPlanner, RowsOfEveryWidthComeBack) {
  for (std::uint64_t num_columns = 1; num_columns <= 400; num_columns += num_columns < 140 ? 1 : 13) {
    const OwnedTensor tensor = make_tensor(DType::kBF16, {20, num_columns}, Values::kNormal, num_columns);
    for (const std::uint64_t row_bytes : {2 * num_columns, 20 * num_columns}) {
      const auto codec = planned(tensor, row_bytes, 2 * num_columns);
      if (codec) stored_bytes(*codec, tensor, row_bytes);
    }
  }
}

TEST(RansPlanner, EveryKindOfValueComesBack) {
  for (const DType dtype : {DType::kU8, DType::kI8, DType::kF8E4M3, DType::kBF16, DType::kF16, DType::kF32, DType::kI32,
                            DType::kF64, DType::kI64, DType::kC64}) {
    for (const Values values : testing::kAllValues) {
      for (const std::uint64_t rows_per_tile : {1U, 60U}) {
        const OwnedTensor tensor = make_tensor(dtype, {60, 97}, values, 3);
        const std::uint64_t row_bytes = 97 * num_bytes(dtype);
        const auto codec = planned(tensor, rows_per_tile * row_bytes, row_bytes);
        if (codec) stored_bytes(*codec, tensor, rows_per_tile * row_bytes);
        ASSERT_FALSE(HasFailure()) << name(dtype) << ", " << name(values) << ", " << rows_per_tile;
      }
    }
  }
}

}  // namespace
}  // namespace stillbit::rans
