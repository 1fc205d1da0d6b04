#include "codecs/window/window.hpp"
#include "core/bits.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <memory>
#include <optional>
#include <random>

namespace stillbit::window {
namespace {

using testing::decoded;
using testing::encoded;
using testing::isas;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Row;
using testing::row_of;
using testing::stream_of;
using testing::Values;

/// The example of spec.md.
Plan example_plan() {
  Plan plan;
  plan.row_bytes = 10;
  plan.view_bytes = 2;
  plan.is_signed = true;
  plan.field_bits = 11;
  plan.base_bytes = 1;
  plan.base_shift = 8;
  plan.bases = {0x7600};
  return plan;
}

TEST(WindowRow, IsWhatTheSpecificationShows) {
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(example_plan(), isa);
    EXPECT_EQ(codec->minimum_row_bytes(), 7U);
    const auto row = row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00});
    const auto stored = encoded(*codec, row);
    EXPECT_EQ(stored,
              stream_of({{0x224, 11}, {0x325, 11}, {0x100, 11}, {0x7FF, 11}, {0x200, 11}, {0, 1}, {0x4000, 16}}));
    EXPECT_EQ(stored.size(), 9U);
    EXPECT_EQ(decoded(*codec, stored, 10), row);
  }
}

TEST(WindowRow, BitsThatAreDroppedAndIntegersAreWhatTheSpecificationSays) {
  // -4 … 2 as 16-bit integers: seven values and the marker in 3 bits.
  const Plan integers{.row_bytes = 10, .view_bytes = 2, .field_bits = 3, .base_bytes = 2, .bases = {0xFFFC}};
  // Sign and magnitude above 8 zeros; the second column's base is above the first one's.
  const Plan dropped{.row_bytes = 12,
                     .view_bytes = 2,
                     .is_signed = true,
                     .dropped_bits = 8,
                     .field_bits = 4,
                     .base_bytes = 1,
                     .base_shift = 1,
                     .bases = {0x70, 0x80}};
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(integers, isa);
    const auto row = row_of({0, 0xFFFC, 3, 0xFFFF, 2});
    const auto stored = encoded(*codec, row);
    EXPECT_EQ(stored, stream_of({{4, 3}, {0, 3}, {7, 3}, {3, 3}, {6, 3}, {0, 1}, {3, 16}}));
    EXPECT_EQ(decoded(*codec, stored, 10), row);

    const auto other = make(dropped, isa);
    const auto floats = row_of({0xBC00, 0xC500, 0x3900, 0xC700, 0xBC01, 0x4000});
    const auto others = encoded(*other, floats);
    EXPECT_EQ(others, stream_of({{9, 4}, {11, 4}, {2, 4}, {15, 4}, {15, 4}, {0, 4}, {0xC700, 16}, {0xBC01, 16}}));
    EXPECT_EQ(decoded(*other, others, 12), floats);
  }
}

TEST(WindowRow, FieldsOfNoBitsHoldOneValue) {
  for (const cpu::Isa isa : isas()) {
    const Plan plan{.row_bytes = 10, .view_bytes = 2, .field_bits = 0, .base_bytes = 2, .bases = {0x1234}};
    const auto codec = make(plan, isa);
    const auto row = row_of({0x1234, 0x1234, 0x1234, 0x1234, 0x1234});
    EXPECT_TRUE(encoded(*codec, row).empty());
    EXPECT_EQ(decoded(*codec, {}, 10), row);
    const auto odd = row_of({0x1234, 0x1234, 0x1235, 0x1234, 0x1234});
    EXPECT_EQ(encoded(*codec, odd), odd);
    std::uint32_t size = 0;
    codec->measure(odd.data(), 1, &size);
    EXPECT_EQ(size, 10U);
  }
}

TEST(WindowRow, AnExceptionMayBeAnyWord) {
  const auto stored =
      stream_of({{0x224, 11}, {0x325, 11}, {0x100, 11}, {0x7FF, 11}, {0x200, 11}, {1, 1}, {0x3C00, 16}});
  for (const cpu::Isa isa : isas())
    EXPECT_EQ(decoded(*make(example_plan(), isa), stored, 10), row_of({0x3C12, 0xBC92, 0x3B80, 0x3C00, 0x3C00}));
}

TEST(WindowRow, TooShortARowIsMalformedAndWhatFollowsOneHasNoMeaning) {
  const auto row = row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00});
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(example_plan(), isa);
    auto stored = encoded(*codec, row);
    for (std::size_t size = 0; size < stored.size(); ++size)
      EXPECT_EQ(decoded(*codec, {stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(size)}, 10),
                std::nullopt);
    stored.resize(200, std::byte{0xFF});
    EXPECT_EQ(decoded(*codec, stored, 10), row);
  }
}

TEST(WindowRow, DecodingStopsAtTheFirstMalformedRow) {
  const auto codec = make(example_plan());
  auto good = encoded(*codec, row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00}));
  const std::uint64_t size = good.size();
  good.resize(size + RowCodec::kSlack);
  const StoredRow rows[] = {{good.data(), size, false}, {good.data(), size - 1, false}, {good.data(), size, false}};
  Row dst(3 * 10);
  EXPECT_EQ(codec->decode(rows, 3, dst.data()), 1U);
}

TEST(WindowPlan, ComesBack) {
  Plan plan = example_plan();
  plan.dropped_bits = 1;
  plan.field_bits = 10;
  plan.bases = {0x100, 0x7F00, 0, 0x200, 0x300};
  const auto bytes = serialize(plan);
  EXPECT_EQ(bytes.size(), serialized_bytes(plan));
  const Plan back = unwrap(parse(bytes, 10));
  EXPECT_EQ(back.view_bytes, 2U);
  EXPECT_TRUE(back.is_signed);
  EXPECT_EQ(back.dropped_bits, 1U);
  EXPECT_EQ(back.field_bits, 10U);
  EXPECT_EQ(back.base_bytes, 1U);
  EXPECT_EQ(back.base_shift, 8U);
  EXPECT_EQ(back.bases, plan.bases);
}

TEST(WindowPlan, EveryBrokenRuleIsNamed) {
  ASSERT_TRUE(open(serialize(example_plan()), 10).ok());
  const auto expect_fault = [](const char* field, std::uint64_t row_bytes, const std::function<void(Row&)>& breaking) {
    auto bytes = serialize(example_plan());
    breaking(bytes);
    const auto result = open(bytes, row_bytes);
    ASSERT_FALSE(result.ok()) << field;
    EXPECT_NE(result.fault().message.find(field), std::string::npos) << result.fault().message;
  };
  const auto set = [](std::size_t at, int value) {
    return [=](Row& bytes) { bytes[at] = static_cast<std::byte>(value); };
  };
  expect_fault("view_bytes", 10, set(0, 0));
  expect_fault("view_bytes", 12, set(0, 3));
  expect_fault("view_bytes", 10, set(0, 16));
  expect_fault("view_bytes", 9, [](Row&) {});
  expect_fault("is_signed", 10, set(1, 2));
  expect_fault("dropped_bits", 10, set(2, 16));
  expect_fault("field_bits", 10, set(3, 16));
  expect_fault("field_bits", 10, set(2, 6));
  expect_fault("base_bytes", 10, set(4, 0));
  expect_fault("base_bytes", 10, set(4, 3));
  expect_fault("base_bytes", 10, set(4, 4));
  expect_fault("base_shift", 10, set(5, 16));
  expect_fault("reserved", 10, set(6, 1));
  expect_fault("reserved", 10, set(7, 1));
  expect_fault("num_bases", 10, set(8, 0));
  expect_fault("num_bases", 10, set(8, 2));
  expect_fault("num_bases", 10, set(8, 6));
  expect_fault("num_bases", 10, set(11, 1));
  expect_fault("plan_bytes", 10, [](Row& bytes) { bytes.pop_back(); });
  expect_fault("plan_bytes", 10, [](Row& bytes) { bytes.push_back({}); });
  expect_fault("too few", 10, [](Row& bytes) { bytes.resize(11); });
  expect_fault("bases", 10, set(5, 10));
  expect_fault("row_bytes", 0, [](Row&) {});
  expect_fault("row_bytes", kMaxRowBytes + 2, [](Row&) {});
  expect_fault("no row smaller", 2, [](Row&) {});
}

/// A codec for a tensor whose rows are its columns, with the plan that its words give.
std::unique_ptr<RowCodec> planned(const OwnedTensor& tensor, std::uint64_t row_bytes) {
  const BitStatistics statistics(row_bytes);
  return plan(
      {{tensor.data.size() / row_bytes, row_bytes}, num_bytes(tensor.dtype), row_bytes, statistics, tensor.data, true});
}

/// Stores and expands every row with every instruction set; all must agree. Returns the bytes of plan and rows.
std::uint64_t stored_bytes(const RowCodec& codec, const OwnedTensor& tensor, std::uint64_t row_bytes) {
  const Plan plan = unwrap(parse(codec.plan(), row_bytes));
  return testing::stored_bytes(codec, tensor.data, row_bytes, [&](cpu::Isa isa) { return make(plan, isa); });
}

TEST(WindowPlanner, WeightsTakeTheirSignMantissaAndAFewBitsOfExponent) {
  const OwnedTensor tensor = make_tensor(DType::kBF16, {500, 512}, Values::kNormal, 1);
  const auto codec = planned(tensor, 1024);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 1024));
  EXPECT_EQ(plan.view_bytes, 2U);
  EXPECT_TRUE(plan.is_signed);
  EXPECT_EQ(plan.field_bits, 11U);
  EXPECT_EQ(plan.bases.size(), 1U);
  EXPECT_LT(stored_bytes(*codec, tensor, 1024) * 7, tensor.data.size() * 5);
}

TEST(WindowPlanner, IntegersOnBothSidesOfZeroTakeFewBits) {
  const OwnedTensor tensor = make_tensor(DType::kI64, {500, 64}, Values::kNormal, 1);
  const auto codec = planned(tensor, 512);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 512));
  EXPECT_EQ(plan.view_bytes, 8U);
  EXPECT_FALSE(plan.is_signed);
  EXPECT_LE(plan.field_bits, 4U);
  EXPECT_GT(tensor.data.size(), 10 * stored_bytes(*codec, tensor, 512));
}

TEST(WindowPlanner, ZerosAtTheEndAreDroppedAndOneOddWordDoesNotChangeThat) {
  OwnedTensor tensor = make_tensor(DType::kF32, {500, 64}, Values::kNormal, 1);
  for (std::size_t i = 0; i < tensor.data.size(); i += 4) {
    const auto word = load<std::uint32_t>(tensor.data.data() + i);
    store(tensor.data.data() + i, word & 0xFFFFE000U);
  }
  store(tensor.data.data() + 4000, 0x7FC12345U);
  const auto codec = planned(tensor, 256);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 256));
  EXPECT_EQ(plan.dropped_bits, 13U);
  EXPECT_GT(tensor.data.size(), 2 * stored_bytes(*codec, tensor, 256));
}

TEST(WindowPlanner, ColumnsOfDifferentScaleGetBases) {
  OwnedTensor tensor = make_tensor(DType::kBF16, {500, 64}, Values::kNormal, 1);
  for (std::size_t i = 0; i < tensor.data.size(); i += 2) {
    // Another power of two for each column.
    const auto word = load<std::uint16_t>(tensor.data.data() + i);
    store(tensor.data.data() + i, static_cast<std::uint16_t>(word + (i / 2 % 64 * 7 % 61 << 7)));
  }
  const auto codec = planned(tensor, 128);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 128));
  EXPECT_EQ(plan.bases.size(), 64U);
  EXPECT_GT(tensor.data.size() * 10, 13 * stored_bytes(*codec, tensor, 128));
}

TEST(WindowPlanner, ConstantRowsTakeNothing) {
  const OwnedTensor tensor = make_tensor(DType::kF32, {500, 64}, Values::kConstant, 1);
  const auto codec = planned(tensor, 256);
  ASSERT_NE(codec, nullptr);
  EXPECT_EQ(codec->minimum_row_bytes(), 0U);
  EXPECT_EQ(stored_bytes(*codec, tensor, 256), codec->plan().size());
}

TEST(WindowPlanner, RandomBitsGetNoPlan) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kU32, DType::kF64})
    EXPECT_EQ(planned(make_tensor(dtype, {1000, 32}, Values::kRandomBits, 1), 32 * num_bytes(dtype)), nullptr);
}

TEST(WindowPlanner, RowsOfEveryWidthComeBack) {
  for (std::uint64_t num_columns = 1; num_columns <= 200; ++num_columns) {
    const OwnedTensor tensor = make_tensor(DType::kBF16, {20, num_columns}, Values::kOutliers, num_columns);
    const auto codec = planned(tensor, 2 * num_columns);
    if (num_columns > 8) {
      ASSERT_NE(codec, nullptr) << num_columns;
    }
    if (codec) stored_bytes(*codec, tensor, 2 * num_columns);
  }
}

TEST(WindowPlanner, EveryKindOfValueComesBack) {
  for (const DType dtype : {DType::kU8, DType::kF8E4M3, DType::kBF16, DType::kF16, DType::kF32, DType::kI32,
                            DType::kF64, DType::kI64, DType::kC64}) {
    for (const Values values : testing::kAllValues) {
      const OwnedTensor tensor = make_tensor(dtype, {60, 97}, values, 3);
      const auto codec = planned(tensor, 97 * num_bytes(dtype));
      if (codec) stored_bytes(*codec, tensor, 97 * num_bytes(dtype));
    }
  }
}

/// Plans of every kind for rows of so many columns. What they code does not matter: other words are exceptions.
std::vector<Plan> plans_of_every_kind(unsigned view_bytes, std::uint64_t num_columns) {
  const unsigned word_bits = 8 * view_bytes;
  std::vector<Plan> plans;
  for (const bool is_signed : {false, true}) {
    for (const unsigned dropped_bits : {0U, 1U, word_bits / 2 + 1, word_bits - 1}) {
      const unsigned value_bits = word_bits - dropped_bits;
      const std::uint64_t ones = ~std::uint64_t{0} >> (64 - value_bits);
      for (const unsigned field_bits : {0U, 1U, 2U, 3U, 5U, 7U, 8U, 11U, 14U, 15U, 16U, 24U, 27U, 30U, 52U, 57U}) {
        if (field_bits > value_bits || field_bits > fields::max_field_bits(view_bytes)) continue;
        Plan plan;
        plan.row_bytes = num_columns * view_bytes;
        plan.view_bytes = view_bytes;
        plan.is_signed = is_signed;
        plan.dropped_bits = dropped_bits;
        plan.field_bits = field_bits;
        plan.base_bytes = view_bytes;
        plan.bases = {0xFFFFFFFFFFFFFFFCU & ones};
        if (minimum_row_bytes(plan) >= plan.row_bytes) continue;
        plans.push_back(plan);
        const std::uint64_t num_bases = num_columns % 3 == 0 ? num_columns / 3 : num_columns;
        for (std::uint64_t i = 1; i < num_bases; ++i) plan.bases.push_back((i % 5 - 2) & ones);
        if (num_bases > 1) plans.push_back(plan);
      }
    }
  }
  return plans;
}

/// Rows in which one word in `one_in` has random bits; the others are near 0, on both sides.
OwnedTensor rows_near_zero(unsigned view_bytes, std::uint64_t num_words, unsigned one_in, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  OwnedTensor tensor{DType::kU8, {num_words * view_bytes}, Row(num_words * view_bytes)};
  for (std::uint64_t i = 0; i < num_words; ++i) {
    std::uint64_t word = random() % one_in == 0 ? random() : random() % 6 - 3;
    if (random() % 4 == 0) word <<= 8 * view_bytes - 1;
    std::memcpy(tensor.data.data() + i * view_bytes, &word, view_bytes);
  }
  return tensor;
}

TEST(WindowKernels, InstructionSetsAgreeBitForBit) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1U, 2U, 9U, 33U, 63U, 64U, 65U, 127U, 128U, 130U, 199U, 1000U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        for (const unsigned one_in : {1U, 4U, 1000U}) {
          const OwnedTensor rows = rows_near_zero(view_bytes, 2 * num_columns, one_in, num_columns);
          stored_bytes(*make(plan), rows, plan.row_bytes);
          ASSERT_FALSE(HasFailure()) << view_bytes << " bytes, " << num_columns << " columns, signed " << plan.is_signed
                                     << ", " << plan.dropped_bits << " dropped, fields of " << plan.field_bits << ", "
                                     << plan.bases.size() << " bases";
        }
      }
    }
  }
}

TEST(WindowKernels, All16BitPatternsComeBack) {
  const OwnedTensor tensor = make_tensor(DType::kBF16, {64, 1024}, Values::kAllPatterns, 1);
  for (const Plan& plan : plans_of_every_kind(2, 1024)) {
    stored_bytes(*make(plan), tensor, 2048);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(WindowKernels, SurviveAnyBytesAndAgreeOnThem) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same rows in every run
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {2U, 9U, 64U, 100U, 500U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        std::vector<std::unique_ptr<RowCodec>> codecs;
        for (const cpu::Isa isa : isas()) codecs.push_back(make(plan, isa));
        for (unsigned round = 0; round < 8; ++round) {
          // Random bytes with few or many ones: many ones make many markers.
          Row stored(random() % (plan.row_bytes + 20));
          for (std::byte& byte : stored) {
            const std::uint64_t bits = random();
            byte = static_cast<std::byte>(round % 2 == 0 ? bits : round % 4 == 1 ? 255 : bits | bits >> 8 | bits >> 16);
          }
          const auto expected = decoded(*codecs[0], stored, plan.row_bytes);
          for (const auto& codec : codecs) ASSERT_EQ(decoded(*codec, stored, plan.row_bytes), expected);
        }
      }
    }
  }
}

TEST(WindowKernels, RowsPastTheCachesBeginAnywhereAndNothingBesideThemIsWritten) {
  constexpr std::uint64_t kNumRows = 6;
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {9U, 64U, 130U, 300U}) {
      const auto plans = plans_of_every_kind(view_bytes, num_columns);
      for (std::size_t kind = 0; kind < plans.size(); kind += 5) {
        const Plan& plan = plans[kind];
        const OwnedTensor tensor = rows_near_zero(view_bytes, kNumRows * num_columns, 9, num_columns);
        const auto codec = make(plan);
        testing::StoredRows stored(*codec, tensor.data, plan.row_bytes);
        stored.make_raw(3);
        for (const cpu::Isa isa : isas()) {
          for (std::uint64_t misaligned_by = 0; misaligned_by < 64; ++misaligned_by) {
            ASSERT_EQ(testing::decoded_past_caches(*make(plan, isa), stored.rows, plan.row_bytes, misaligned_by),
                      stored.raw)
                << cpu::name(isa) << ", " << view_bytes << " bytes, " << num_columns << " columns, " << misaligned_by;
          }
        }
      }
    }
  }
}

TEST(WindowKernels, TheWidestRowsComeBack) {
  for (const unsigned view_bytes : {1U, 8U}) {
    Plan plan;
    plan.row_bytes = kMaxRowBytes;
    plan.view_bytes = view_bytes;
    plan.field_bits = 5;
    plan.base_bytes = 1;
    plan.bases = {0, 1};
    stored_bytes(*make(plan), rows_near_zero(view_bytes, kMaxRowBytes / view_bytes, 50, 5), kMaxRowBytes);
  }
}

}  // namespace
}  // namespace stillbit::window
