#include "codecs/escape/escape.hpp"
#include "core/bits.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>

namespace stillbit::escape {
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
  plan.sign_bits = 1;
  plan.symbol_bits = 8;
  plan.tiers = {Tier{2, {0x78, 0x79, 0x77}}};
  return plan;
}

TEST(EscapeRow, IsWhatTheSpecificationShows) {
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(example_plan(), isa);
    EXPECT_EQ(codec->minimum_row_bytes(), 7U);
    const auto row = row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00});
    const auto stored = encoded(*codec, row);
    EXPECT_EQ(stored, stream_of({{0x12, 8}, {0x92, 8}, {0, 8}, {0, 8}, {0, 8}, {0b00111001, 8}, {1, 8}, {0x80, 8}}));
    EXPECT_EQ(decoded(*codec, stored, 10), row);
  }
}

TEST(EscapeRow, BlocksOfCodesAreWhatTheSpecificationSays) {
  // 64 codes of 3 bits: the row's codes are 0 … 7, again and again, and the symbols that code 0 escapes are 0.
  Plan plan = example_plan();
  plan.row_bytes = 128;
  plan.tiers = {Tier{3, {1, 2, 3, 4, 5, 6, 7}}};
  Row row(128);
  for (unsigned i = 0; i < 64; ++i) store(row.data() + std::size_t{2} * i, static_cast<std::uint16_t>((i % 8) << 7));
  Row codes(24);
  for (unsigned i = 0; i < 64; ++i) {
    codes[i % 16] |= static_cast<std::byte>((i & 3) << (i / 16 * 2));
    codes[16 + i / 8] |= static_cast<std::byte>((i >> 2 & 1) << (i % 8));
  }
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    const auto stored = encoded(*codec, row);
    ASSERT_EQ(stored.size(), 64U + 24 + 8);
    EXPECT_TRUE(std::equal(codes.begin(), codes.end(), stored.begin() + 64));
    EXPECT_EQ(decoded(*codec, stored, 128), row);
  }
}

TEST(EscapeRow, LaterTiersFollowAndShiftsAreAdded) {
  // The symbols, less 0x10 for the row and 0 or 1 for the column, are 1, 1, 2, 3, 2, 1: codes 1, 1, 0, 0, 0, 1 and, of
  // those three escapes, codes 1, 0, 1; what is left is written out.
  Plan plan = example_plan();
  plan.row_bytes = 12;
  plan.tiers = {Tier{1, {1}}, Tier{1, {2}}};
  plan.row_shifts = true;
  plan.column_shifts = {0, 1};
  const Row row = row_of({0x11 << 7, 0x12 << 7, 0x12 << 7, 0x14 << 7, 0x12 << 7, 0x12 << 7});
  const Row stored = stream_of({{0, 48}, {0b100011, 8}, {0x10, 8}, {3, 8}, {0b101, 8}, {3, 8}});
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    EXPECT_EQ(codec->minimum_row_bytes(), 9U);
    EXPECT_EQ(decoded(*codec, stored, 12), row);
    EXPECT_LE(encoded(*codec, row).size(), stored.size());
    EXPECT_EQ(decoded(*codec, encoded(*codec, row), 12), row);
  }
}

TEST(EscapeRow, ABitThatMustBeZeroMakesARowRaw) {
  Plan plan = example_plan();
  plan.sign_bits = 0;
  plan.dropped_bits = 2;
  const auto row = row_of({0x3C10, 0x3C94, 0x3B80, 0x3C00, 0x3C00});
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    EXPECT_LT(encoded(*codec, row).size(), 10U);
    EXPECT_EQ(decoded(*codec, encoded(*codec, row), 10), row);
    for (const unsigned bit : {0U, 1U, 15U}) {
      auto odd = row;
      store(odd.data() + 4, static_cast<std::uint16_t>(0x3B80 | 1U << bit));
      EXPECT_EQ(encoded(*codec, odd), odd);
    }
  }
}

TEST(EscapeRow, TooShortARowIsMalformedAndWhatFollowsOneHasNoMeaning) {
  Plan plan = example_plan();
  plan.row_bytes = 12;
  plan.tiers = {Tier{2, {0x78, 0x79, 0x77}}, Tier{1, {0x70}}};
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    // Two escapes: their number, a second tier's codes 1 and 0, and a symbol.
    auto stored = stream_of({{0x9212, 16}, {0, 32}, {0b00111001, 8}, {0b0100, 8}, {2, 8}, {1, 8}, {5, 8}});
    EXPECT_NE(decoded(*codec, stored, 12), std::nullopt);
    for (std::size_t size = 0; size < stored.size(); ++size)
      EXPECT_EQ(decoded(*codec, {stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(size)}, 12),
                std::nullopt);
    const auto expected = decoded(*codec, stored, 12);
    stored.resize(200, std::byte{0xFF});
    EXPECT_EQ(decoded(*codec, stored, 12), expected);
  }
}

TEST(EscapeRow, ARowWithMoreOrFewerEscapesThanItSaysIsMalformed) {
  Plan plan = example_plan();
  plan.row_bytes = 256;
  plan.tiers = {Tier{2, {1, 2, 3}}, Tier{2, {4, 5, 6}}, Tier{3, {7, 8, 9, 10, 11, 12, 13}}};
  Row row(256);
  for (unsigned i = 0; i < 128; ++i) store(row.data() + std::size_t{2} * i, static_cast<std::uint16_t>((i % 10) << 7));
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    const Row stored = encoded(*codec, row);
    ASSERT_EQ(decoded(*codec, stored, 256), row);
    // Counts of 8 bits each, and what could be meant by others behind the row.
    const std::size_t counts_at = codec->minimum_row_bytes() - 2;
    EXPECT_EQ(stored[counts_at], std::byte{7 * 12 + 5});
    for (const std::size_t at : {counts_at, counts_at + 1}) {
      for (const int by : {-26, -1, 1, 5, 60}) {
        Row wrong = stored;
        wrong.resize(255);
        wrong[at] = static_cast<std::byte>(static_cast<int>(wrong[at]) + by);
        EXPECT_EQ(decoded(*codec, wrong, 256), std::nullopt) << at << " " << by;
      }
    }
  }
}

TEST(EscapeRow, DecodingStopsAtTheFirstMalformedRow) {
  const auto codec = make(example_plan());
  auto good = encoded(*codec, row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00}));
  const std::uint64_t size = good.size();
  good.resize(size + RowCodec::kSlack);
  const StoredRow rows[] = {{good.data(), size, false}, {good.data(), size - 1, false}, {good.data(), size, false}};
  Row dst(3 * 10);
  EXPECT_EQ(codec->decode(rows, 3, dst.data()), 1U);
}

TEST(EscapePlan, ComesBack) {
  Plan plan = example_plan();
  plan.dropped_bits = 3;
  plan.tiers.push_back(Tier{1, {5}});
  plan.row_shifts = true;
  plan.column_shifts = {1, 2, 3, 0xFF, 0};
  const auto bytes = serialize(plan);
  EXPECT_EQ(bytes.size(), serialized_bytes(plan));
  const Plan back = unwrap(parse(bytes, 10));
  EXPECT_EQ(back.view_bytes, 2U);
  EXPECT_EQ(back.sign_bits, 1U);
  EXPECT_EQ(back.symbol_bits, 8U);
  EXPECT_EQ(back.dropped_bits, 3U);
  EXPECT_EQ(back.tiers, plan.tiers);
  EXPECT_TRUE(back.row_shifts);
  EXPECT_EQ(back.column_shifts, plan.column_shifts);
}

TEST(EscapePlan, EveryBrokenRuleIsNamed) {
  Plan plan = example_plan();
  plan.column_shifts = {0, 0, 0, 0, 0};
  ASSERT_TRUE(open(serialize(plan), 10).ok());
  const auto expect_fault = [&](const char* field, std::uint64_t row_bytes, const std::function<void(Row&)>& breaking) {
    auto bytes = serialize(plan);
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
  expect_fault("sign_bits", 10, set(1, 2));
  expect_fault("symbol_bits", 10, set(2, 1));
  expect_fault("symbol_bits", 10, set(2, 9));
  expect_fault("dropped_bits", 10, set(3, 8));
  expect_fault("num_tiers", 10, set(4, 0));
  expect_fault("num_tiers", 10, set(4, 4));
  expect_fault("tier_bits", 10, set(5, 0));
  expect_fault("tier_bits", 10, set(5, 5));
  expect_fault("tier_bits", 10, set(6, 1));
  expect_fault("row_shifts", 10, set(8, 2));
  expect_fault("reserved", 10, set(9, 1));
  expect_fault("reserved", 10, set(11, 1));
  expect_fault("num_column_shifts", 10, set(12, 2));
  expect_fault("num_column_shifts", 10, set(12, 6));
  expect_fault("num_column_shifts", 10, set(15, 1));
  expect_fault("tables", 10, set(17, 1));
  expect_fault("column_shifts", 10, set(23, 1));
  expect_fault("plan_bytes", 10, [](Row& bytes) { bytes.pop_back(); });
  expect_fault("plan_bytes", 10, [](Row& bytes) { bytes.push_back({}); });
  expect_fault("too few", 10, [](Row& bytes) { bytes.resize(15); });
  expect_fault("row_bytes", 0, [](Row&) {});
  expect_fault("row_bytes", kMaxRowBytes + 10, [](Row&) {});
  plan.column_shifts.clear();
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

TEST(EscapePlanner, WeightsTakeLittleMoreThanTheirEntropy) {
  const OwnedTensor tensor = make_tensor(DType::kBF16, {500, 512}, Values::kNormal, 1);
  const auto codec = planned(tensor, 1024);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 1024));
  EXPECT_EQ(plan.view_bytes, 2U);
  EXPECT_LT(stored_bytes(*codec, tensor, 1024) * 37, tensor.data.size() * 25);
}

TEST(EscapePlanner, RowsAndColumnsOfDifferentScaleAreShifted) {
  for (const bool by_column : {false, true}) {
    OwnedTensor tensor = make_tensor(DType::kBF16, {500, 64}, Values::kNormal, 1);
    for (std::size_t i = 0; i < tensor.data.size(); i += 2) {
      // Another power of two for each row or column.
      const auto word = load<std::uint16_t>(tensor.data.data() + i);
      const std::size_t at = by_column ? i / 2 % 64 : i / 128;
      store(tensor.data.data() + i, static_cast<std::uint16_t>(word + (at * 7 % 61 << 7)));
    }
    const auto codec = planned(tensor, 128);
    ASSERT_NE(codec, nullptr);
    const Plan plan = unwrap(parse(codec->plan(), 128));
    EXPECT_EQ(plan.row_shifts, !by_column);
    EXPECT_EQ(plan.column_shifts.size(), by_column ? 64U : 0U);
    EXPECT_GT(tensor.data.size() * 10, 13 * stored_bytes(*codec, tensor, 128));
  }
}

TEST(EscapePlanner, RandomBitsGetNoPlan) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kU32, DType::kF64})
    EXPECT_EQ(planned(make_tensor(dtype, {1000, 32}, Values::kRandomBits, 1), 32 * num_bytes(dtype)), nullptr);
}

TEST(EscapePlanner, RowsOfEveryWidthComeBack) {
  for (std::uint64_t num_columns = 1; num_columns <= 200; ++num_columns) {
    const OwnedTensor tensor = make_tensor(DType::kBF16, {20, num_columns}, Values::kNormal, num_columns);
    const auto codec = planned(tensor, 2 * num_columns);
    if (num_columns > 16) {
      ASSERT_NE(codec, nullptr) << num_columns;
    }
    if (codec) stored_bytes(*codec, tensor, 2 * num_columns);
  }
}

TEST(EscapePlanner, EveryKindOfValueComesBack) {
  for (const DType dtype : {DType::kU8, DType::kF8E4M3, DType::kBF16, DType::kF16, DType::kF32, DType::kI32,
                            DType::kF64, DType::kI64, DType::kC64}) {
    for (const Values values : testing::kAllValues) {
      const OwnedTensor tensor = make_tensor(dtype, {60, 97}, values, 3);
      const auto codec = planned(tensor, 97 * num_bytes(dtype));
      if (codec) stored_bytes(*codec, tensor, 97 * num_bytes(dtype));
    }
  }
}

/// The plan that warps have their own loop for (codecs/escape/warp_narrow.hpp); of words of one byte as near as it
/// gets.
Plan usual_plan(unsigned view_bytes, std::uint64_t num_columns) {
  Plan plan;
  plan.row_bytes = num_columns * view_bytes;
  plan.view_bytes = view_bytes;
  plan.symbol_bits = max_symbol_bits(view_bytes);
  std::uint16_t symbol = 0;
  for (const unsigned bits : {2U, 2U, 3U}) {
    Tier tier{bits, {}};
    for (unsigned i = 1; i < 1U << bits; ++i) tier.symbols.push_back(symbol++);
    plan.tiers.push_back(std::move(tier));
  }
  return plan;
}

/// Plans of every kind for rows of so many columns.
std::vector<Plan> plans_of_every_kind(unsigned view_bytes, std::uint64_t num_columns) {
  const std::vector<std::vector<unsigned>> kTierBits = {{1}, {4}, {2, 2, 3}, {3, 1}, {1, 3, 4}};
  std::vector<Plan> plans;
  if (Plan usual = usual_plan(view_bytes, num_columns); minimum_row_bytes(usual) < usual.row_bytes)
    plans.push_back(std::move(usual));
  unsigned next_kind = 0;
  for (unsigned symbol_bits = min_symbol_bits(view_bytes); symbol_bits <= max_symbol_bits(view_bytes); ++symbol_bits) {
    const unsigned rest_bits = 8 * view_bytes - 1 - symbol_bits;
    for (const unsigned dropped_bits : {0U, 1U, rest_bits / 2, rest_bits}) {
      for (const unsigned sign_bits : {0U, 1U}) {
        Plan plan;
        plan.row_bytes = num_columns * view_bytes;
        plan.view_bytes = view_bytes;
        plan.sign_bits = sign_bits;
        plan.symbol_bits = symbol_bits;
        plan.dropped_bits = std::min(dropped_bits, rest_bits);
        const unsigned kind = next_kind++;
        // Some have the last symbols, some are far from each other.
        unsigned symbol = kind % 4 == 1 ? (1U << symbol_bits) - 9 : 0;
        for (const unsigned bits : kTierBits[kind % kTierBits.size()]) {
          Tier tier{bits, {}};
          for (unsigned i = 1; i < 1U << bits; ++i, symbol += kind % 3 == 2 ? 9 : 1)
            tier.symbols.push_back(static_cast<std::uint16_t>(symbol & ((1U << symbol_bits) - 1)));
          plan.tiers.push_back(std::move(tier));
        }
        plan.row_shifts = kind % 3 == 1;
        if (kind % 4 >= 2) {
          const std::uint64_t num_shifts = kind % 4 == 2 ? num_columns : 1;
          for (std::uint64_t i = 0; i < num_shifts; ++i)
            plan.column_shifts.push_back(static_cast<std::uint16_t>(i * 5 & ((1U << symbol_bits) - 1)));
        }
        if (minimum_row_bytes(plan) < plan.row_bytes) plans.push_back(std::move(plan));
      }
    }
  }
  return plans;
}

/// Rows that the plan encodes: of the commonest symbols, before they are shifted, and one in `one_in` of any size.
OwnedTensor rows_for(const Plan& plan, std::uint64_t num_rows, unsigned one_in, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::uint64_t n = plan.num_columns();
  OwnedTensor tensor{DType::kU8, {num_rows * plan.row_bytes}, Row(num_rows * plan.row_bytes)};
  const unsigned symbol_at = 8 * plan.view_bytes - 1 - plan.symbol_bits;
  std::vector<std::uint16_t> common;
  for (const Tier& tier : plan.tiers) common.insert(common.end(), tier.symbols.begin(), tier.symbols.end());
  common.resize(std::min<std::size_t>(5, common.size()));
  for (std::uint64_t i = 0; i < num_rows * n; ++i) {
    const std::uint64_t shift = plan.column_shifts.empty() ? 0 : plan.column_shifts[i % n % plan.column_shifts.size()];
    const std::uint64_t symbol =
        (random() % one_in == 0 ? random() : common[random() % common.size()]) + shift + (plan.row_shifts ? i / n : 0);
    const std::uint64_t rest = (random() & ((std::uint64_t{1} << symbol_at) - 1)) >> plan.dropped_bits
                                                                                         << plan.dropped_bits;
    const std::uint64_t sign = plan.sign_bits == 0 ? 0 : random() % 2;
    const std::uint64_t word =
        rest | (symbol & ((1U << plan.symbol_bits) - 1)) << symbol_at | sign << (8 * plan.view_bytes - 1);
    std::memcpy(tensor.data.data() + i * plan.view_bytes, &word, plan.view_bytes);
  }
  return tensor;
}

TEST(EscapeKernels, InstructionSetsAgreeBitForBit) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1U, 2U, 9U, 33U, 63U, 64U, 65U, 127U, 128U, 130U, 199U, 1000U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        for (const unsigned one_in : {1U, 4U, 1000U}) {
          stored_bytes(*make(plan), rows_for(plan, 2, one_in, num_columns), plan.row_bytes);
          ASSERT_FALSE(HasFailure()) << view_bytes << " bytes, " << num_columns << " columns, symbols of "
                                     << plan.symbol_bits << ", " << plan.dropped_bits << " dropped, sign "
                                     << plan.sign_bits << ", " << plan.tiers.size() << " tiers";
        }
      }
    }
  }
}

TEST(EscapeKernels, WarpsExpandUsualRowsOfEveryWidth) {
  for (const unsigned view_bytes : {1U, 2U, 4U}) {
    std::uint64_t num_encoded = 0;
    for (std::uint64_t num_columns = 1; num_columns < 600; ++num_columns) {
      const Plan plan = usual_plan(view_bytes, num_columns);
      if (minimum_row_bytes(plan) >= plan.row_bytes) continue;
      const auto codec = make(plan);
      for (const unsigned one_in : {4U, 30U}) {
        const Row row = rows_for(plan, 1, one_in, num_columns).data;
        const Row stored = encoded(*codec, row);
        num_encoded += stored.size() < row.size() ? 1 : 0;
        ASSERT_EQ(decoded(*codec, stored, row.size(), stored.size() == row.size()), row) << num_columns << " columns";
      }
    }
    EXPECT_GT(num_encoded, 500U) << view_bytes << " bytes";
  }
}

TEST(EscapeKernels, All16BitPatternsComeBack) {
  const OwnedTensor tensor = make_tensor(DType::kBF16, {64, 1024}, Values::kAllPatterns, 1);
  for (const Plan& plan : plans_of_every_kind(2, 1024)) {
    stored_bytes(*make(plan), tensor, 2048);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(EscapeKernels, SurviveAnyBytesAndAgreeOnThem) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same rows in every run
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {2U, 9U, 64U, 100U, 500U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        std::vector<std::unique_ptr<RowCodec>> codecs;
        for (const cpu::Isa isa : isas()) codecs.push_back(make(plan, isa));
        for (unsigned round = 0; round < 8; ++round) {
          // Random bytes with few or many ones: few ones make many escapes.
          Row stored(random() % (plan.row_bytes + 20));
          for (std::byte& byte : stored) {
            const std::uint64_t bits = random();
            byte = static_cast<std::byte>(round % 2 == 0 ? bits : round % 4 == 1 ? 0 : bits & bits >> 8 & bits >> 16);
          }
          const auto expected = decoded(*codecs[0], stored, plan.row_bytes);
          for (const auto& codec : codecs) ASSERT_EQ(decoded(*codec, stored, plan.row_bytes), expected);
        }
      }
    }
  }
}

TEST(EscapeKernels, RowsPastTheCachesBeginAnywhereAndNothingBesideThemIsWritten) {
  constexpr std::uint64_t kNumRows = 6;
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {9U, 64U, 130U, 300U}) {
      const auto plans = plans_of_every_kind(view_bytes, num_columns);
      for (std::size_t kind = 0; kind < plans.size(); kind += 5) {
        const Plan& plan = plans[kind];
        const OwnedTensor tensor = rows_for(plan, kNumRows, 4, num_columns);
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

TEST(EscapeKernels, ManyRowsComeBackUpToTheFirstMalformedOne) {
  constexpr std::uint64_t kNumRows = 24;
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {64U, 130U, 1000U, 2048U, 2049U, 4500U}) {
      const auto plans = plans_of_every_kind(view_bytes, num_columns);
      for (std::size_t kind = 0; kind < plans.size(); kind += 5) {
        const Plan& plan = plans[kind];
        // One row has symbols of any size: very many escapes, or it is raw.
        OwnedTensor tensor = rows_for(plan, kNumRows, 10, num_columns);
        const OwnedTensor other = rows_for(plan, 1, 1, num_columns);
        std::copy(other.data.begin(), other.data.end(),
                  tensor.data.begin() + static_cast<std::ptrdiff_t>(11 * plan.row_bytes));
        const auto codec = make(plan);
        testing::StoredRows stored(*codec, tensor.data, plan.row_bytes);
        std::vector<StoredRow>& rows = stored.rows;
        for (const std::uint64_t malformed : {kNumRows, std::uint64_t{20}, std::uint64_t{3}, std::uint64_t{0}}) {
          if (malformed < kNumRows) rows[malformed] = {rows[malformed].data, minimum_row_bytes(plan) - 1, false};
          const auto end = static_cast<std::ptrdiff_t>(malformed * plan.row_bytes);
          for (const cpu::Isa isa : isas()) {
            const auto of_isa = make(plan, isa);
            for (const bool past_caches : {false, true}) {
              Row out(kNumRows * plan.row_bytes + RowCodec::kSlack);
              const std::uint64_t num_decoded = past_caches
                                                    ? of_isa->decode_past_caches(rows.data(), kNumRows, out.data())
                                                    : of_isa->decode(rows.data(), kNumRows, out.data());
              ASSERT_EQ(num_decoded, malformed) << cpu::name(isa);
              ASSERT_TRUE(std::equal(out.begin(), out.begin() + end, tensor.data.begin()))
                  << cpu::name(isa) << ", " << view_bytes << " bytes, " << num_columns << " columns";
            }
          }
        }
      }
    }
  }
}

TEST(EscapeKernels, TheWidestRowsComeBack) {
  for (const unsigned view_bytes : {1U, 2U, 8U}) {
    for (const Plan& plan : plans_of_every_kind(view_bytes, kMaxRowBytes / view_bytes)) {
      stored_bytes(*make(plan), rows_for(plan, 1, 50, 5), kMaxRowBytes);
      ASSERT_FALSE(HasFailure());
    }
  }
}

}  // namespace
}  // namespace stillbit::escape
