#include "codecs/dictionary/dictionary.hpp"
#include "codecs/dictionary/kernels.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <memory>
#include <optional>

namespace stillbit::dictionary {
namespace {

using testing::encoded;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::row_of;
using testing::Values;

const Kind kPatched{1, false, true, 4, 8, 0x0100, {2, 5, 7}};
const Kind kSigned{1, true, false, 8, 2, 0x3C, {0, 3}};
const Kind kWindow{3, false, true, 0, 16, 100, {}};

/// The example of spec.md.
Plan example_plan() {
  return make_plan(8, 2, {kPatched, kPatched, kSigned, kWindow});
}

/// What a stored row expands to; one that is as long as the row is raw.
std::optional<testing::Row> decoded(const RowCodec& codec, const testing::Row& stored, std::uint64_t row_bytes) {
  return testing::decoded(codec, stored, row_bytes, stored.size() == row_bytes);
}

std::uint64_t bits_of(const std::vector<std::byte>& stored) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, stored.data(), std::min<std::size_t>(stored.size(), 8));
  return bits;
}

TEST(DictionaryRow, IsWhatTheSpecificationShows) {
  const auto codec = make(example_plan());
  EXPECT_EQ(codec->minimum_row_bytes(), 1U);

  const auto plain = row_of({0x1020, 0x1020, 0xBF00, 103});
  const auto stored = encoded(*codec, plain);
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_EQ(bits_of(stored), 0b11U << 2 | 3U << 4);
  EXPECT_EQ(decoded(*codec, stored, 8), plain);

  const auto patched = row_of({0x1070, 0x1330, 0x3C00, 90});
  const auto stored_patched = encoded(*codec, patched);
  ASSERT_EQ(stored_patched.size(), 5U);
  EXPECT_EQ(bits_of(stored_patched), 0b11U | 7U << 4 | 1U << 7 | 3U << 9 | 0x33U << 11 | std::uint64_t{0xFFF6} << 19);
  EXPECT_EQ(decoded(*codec, stored_patched, 8), patched);

  // No entry and no number; low bits that are not zero; no entry where there are no misses.
  for (const auto& row : {row_of({0x2030, 0x1020, 0x3C00, 100}), row_of({0x1021, 0x1020, 0x3C00, 100}),
                          row_of({0x1020, 0x1020, 0x3D00, 100})}) {
    EXPECT_EQ(encoded(*codec, row), row);
    EXPECT_EQ(decoded(*codec, row, 8), row);
  }
}

TEST(DictionaryRow, CodesWithoutAnEntryAreTheNumberZero) {
  // Three entries in two bits without a marker; five entries with four codes and patch codes of one bit.
  const auto codec = make(
      make_plan(4, 2, {Kind{2, false, false, 0, 8, 9, {1, 2, 3}}, Kind{2, false, false, 0, 8, 9, {1, 2, 3, 4, 5, 6}}}));
  EXPECT_EQ(decoded(*codec, {std::byte{0b0011}}, 4), row_of({9, 10}));
  // Entries 4, 5 and 6 have patch codes 0, 1 and 2.
  EXPECT_EQ(decoded(*codec, {std::byte{0b101100}}, 4), row_of({10, 15}));
  EXPECT_EQ(decoded(*codec, {std::byte{0b111100}}, 4), row_of({10, 9}));
}

TEST(DictionaryRow, TooShortARowIsMalformed) {
  const auto codec = make(example_plan());
  const auto stored = encoded(*codec, row_of({0x1070, 0x1330, 0x3C00, 90}));
  for (std::size_t size = 0; size < stored.size(); ++size)
    EXPECT_EQ(decoded(*codec, {stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(size)}, 8), std::nullopt);
}

TEST(DictionaryPlan, ComesBack) {
  const auto bytes = serialize(example_plan());
  const Plan plan = unwrap(parse(bytes, 8));
  EXPECT_EQ(plan.view_bytes, 2U);
  EXPECT_EQ(plan.kinds, example_plan().kinds);
  EXPECT_EQ(plan.column_kinds, (std::vector<std::uint16_t>{0, 0, 1, 2}));
  EXPECT_EQ(serialize(plan), bytes);
  // In a tile of three rows.
  EXPECT_EQ(num_field_bits(unwrap(parse(bytes, 24))), 3 * num_field_bits(plan));
}

TEST(DictionaryPlan, WideNumbersComeBack) {
  const std::uint64_t high = std::uint64_t{1} << 63;
  const Plan plan = make_plan(8, 8, {Kind{1, false, true, 0, 64, high, {high, ~std::uint64_t{0}, 12345}}});
  EXPECT_EQ(unwrap(parse(serialize(plan), 8)).kinds, plan.kinds);
}

TEST(DictionaryPlan, EveryBrokenRuleIsNamed) {
  const auto expect_fault = [](const char* field, std::uint64_t row_bytes,
                               const std::function<void(std::vector<std::byte>&)>& breaking) {
    auto bytes = serialize(example_plan());
    breaking(bytes);
    const auto result = open(bytes, row_bytes);
    ASSERT_FALSE(result.ok()) << field;
    EXPECT_NE(result.fault().message.find(field), std::string::npos) << result.fault().message;
  };
  const auto set = [](std::size_t at, int value) {
    return [=](std::vector<std::byte>& bytes) { bytes[at] = static_cast<std::byte>(value); };
  };
  expect_fault("view_bytes", 8, set(0, 3));
  expect_fault("view_bytes", 8, set(0, 0));
  expect_fault("view_bytes", 8, set(0, 16));
  expect_fault("view_bytes", 9, set(0, 2));
  expect_fault("kind_bits", 8, set(1, 1));
  expect_fault("reserved", 8, set(2, 1));
  expect_fault("num_kinds", 8, set(4, 0));
  expect_fault("num_kinds", 8, set(7, 1));
  expect_fault("period_columns", 8, set(8, 0));
  expect_fault("period_columns", 8, set(8, 3));
  expect_fault("period_columns", 8, set(11, 1));
  expect_fault("row_bytes", 0, [](auto&) {});
  expect_fault("row_bytes", 2 * (kMaxColumns + 4), [](auto&) {});
  // The first kind is at 12: a header of 8 bytes and three entries of 8 bits.
  expect_fault("code_bits", 8, set(12, 3));
  expect_fault("code_bits", 8, set(12, 200));
  expect_fault("flags", 8, set(13, 4));
  expect_fault("shift", 8, set(14, 16));
  expect_fault("number_bits", 8, set(15, 13));
  expect_fault("number_bits", 8, set(15, 255));
  expect_fault("num_entries", 8, set(15, 1));
  expect_fault("base", 8, set(19, 0x10));
  expect_fault("num_entries", 8, set(17, 0xFF));
  // The second at 23, with 7 bits behind its sign and shift; the third, a window, at 32.
  expect_fault("shift", 8, set(25, 15));
  expect_fault("base", 8, set(29, 0x80));
  expect_fault("code_bits", 8, set(32, 17));
  expect_fault("flags", 8, set(33, 0));
  expect_fault("flags", 8, set(32, 16));
  expect_fault("column_kinds", 8, set(40, 0xFF));
  expect_fault("instead of", 8, [](auto& bytes) { bytes.pop_back(); });
  expect_fault("instead of", 8, [](auto& bytes) { bytes.push_back({}); });
  expect_fault("ends within", 8, [](auto& bytes) { bytes.resize(39); });
  expect_fault("ends within", 8, [](auto& bytes) { bytes.resize(22); });
  expect_fault("shorter", 8, [](auto& bytes) { bytes.resize(11); });

  EXPECT_FALSE(open(serialize(make_plan(2, 2, {Kind{16, false, false, 0, 16, 0, {}}})), 2).ok());
  // More entries than all kinds may have together: 65 times 65,535 of one number each.
  Plan many = make_plan(2, 2, {Kind{0, false, false, 0, 16, 0, std::vector<std::uint64_t>(kMaxEntries)}});
  many.kinds.resize(65, many.kinds[0]);
  const auto result = open(serialize(many), 2);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.fault().message.find("num_entries"), std::string::npos);
}

/// A codec for a tensor whose columns repeat after `period_bytes`, with the plan that `sample_rows` of its tiles give.
std::unique_ptr<RowCodec> planned(const OwnedTensor& tensor, std::uint64_t row_bytes, std::uint64_t period_bytes,
                                  std::uint64_t sample_rows) {
  BitStatistics statistics(row_bytes);
  statistics.add(tensor.data);
  const Bytes sample = Bytes(tensor.data).first(std::min<std::size_t>(tensor.data.size(), sample_rows * row_bytes));
  return plan({{tensor.data.size() / row_bytes, row_bytes},
               num_bytes(tensor.dtype),
               period_bytes,
               statistics,
               sample,
               sample.size() == tensor.data.size()});
}

void expect_round_trip(const RowCodec& codec, const std::vector<std::byte>& data, std::uint64_t row_bytes) {
  for (std::uint64_t at = 0; at < data.size(); at += row_bytes) {
    const std::vector<std::byte> row(data.begin() + static_cast<std::ptrdiff_t>(at),
                                     data.begin() + static_cast<std::ptrdiff_t>(at + row_bytes));
    auto stored = encoded(codec, row);
    ASSERT_LE(stored.size(), row_bytes);
    ASSERT_GE(stored.size(), codec.minimum_row_bytes());
    ASSERT_EQ(decoded(codec, stored, row_bytes), row);
    // A slot has bytes without meaning behind its row.
    if (stored.size() + 3 >= row_bytes) continue;
    stored.insert(stored.end(), 3, std::byte{0xFF});
    ASSERT_EQ(decoded(codec, stored, row_bytes), row);
  }
}

TEST(DictionaryPlanner, EveryKindOfValueInEveryViewComesBack) {
  for (const DType dtype :
       {DType::kU8, DType::kI16, DType::kBF16, DType::kF32, DType::kI32, DType::kF64, DType::kC64}) {
    for (const std::uint64_t num_columns : {1, 3, 8, 17, 64}) {
      for (const Values values : testing::kAllValues) {
        for (const std::uint64_t rows_per_tile : {1, 5}) {
          const OwnedTensor tensor = make_tensor(dtype, {400, num_columns}, values, num_columns);
          const std::uint64_t period_bytes = num_columns * num_bytes(dtype);
          const std::uint64_t row_bytes = rows_per_tile * period_bytes;
          // Of the whole, and of a part, so that the rest has words that it never saw.
          for (const std::uint64_t sample_rows : {400, 20}) {
            const auto codec = planned(tensor, row_bytes, period_bytes, sample_rows);
            if (!codec) continue;
            const auto opened = unwrap(open(codec->plan(), row_bytes));
            ASSERT_EQ(opened->plan(), codec->plan());
            expect_round_trip(*opened, tensor.data, row_bytes);
            const OwnedTensor other = make_tensor(dtype, {10, num_columns}, Values::kRandomBits, 77);
            expect_round_trip(*codec, other.data, row_bytes);
          }
        }
      }
    }
  }
}

/// `num_rows` rows of 4-byte words: word j of row i is `value(i, j)`.
OwnedTensor table(std::uint64_t num_rows, std::uint64_t num_columns,
                  const std::function<std::uint32_t(std::uint64_t, std::uint64_t)>& value) {
  OwnedTensor tensor{DType::kF32, {num_rows, num_columns}, std::vector<std::byte>(num_rows * num_columns * 4)};
  for (std::uint64_t i = 0; i < num_rows * num_columns; ++i)
    store(tensor.data.data() + 4 * i, value(i / num_columns, i % num_columns));
  return tensor;
}

std::uint32_t scrambled(std::uint64_t i) {
  return static_cast<std::uint32_t>((i + 1) * 0x9E3779B97F4A7C15U >> 32);
}

TEST(DictionaryPlanner, ConstantColumnsTakeNothing) {
  const auto tensor = table(1000, 8, [](auto, auto column) { return scrambled(column); });
  const auto codec = planned(tensor, 32, 32, 1000);
  ASSERT_NE(codec, nullptr);
  EXPECT_EQ(codec->minimum_row_bytes(), 0U);
  expect_round_trip(*codec, tensor.data, 32);
}

TEST(DictionaryPlanner, ColumnsWithTheSameWordsShareAKind) {
  const auto tensor =
      table(1000, 64, [](auto row, auto column) { return scrambled(row * 64 + column) % 2 * 0x3F800000U; });
  const auto codec = planned(tensor, 256, 256, 1000);
  ASSERT_NE(codec, nullptr);
  EXPECT_EQ(unwrap(parse(codec->plan(), 256)).kinds.size(), 1U);
  EXPECT_EQ(codec->minimum_row_bytes(), 8U);
}

TEST(DictionaryPlanner, MagnitudesTakeHalfTheEntries) {
  const auto tensor = table(2000, 4, [](auto row, auto column) {
    return scrambled(scrambled(row * 4 + column) % 16) >> 1 | scrambled(row * 5 + column) << 31;
  });
  const auto codec = planned(tensor, 16, 16, 2000);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 16));
  ASSERT_EQ(plan.kinds.size(), 1U);
  EXPECT_TRUE(plan.kinds[0].has_sign);
  EXPECT_EQ(plan.kinds[0].entries.size(), 16U);
  EXPECT_EQ(plan.kinds[0].code_bits, 4U);
}

TEST(DictionaryPlanner, NarrowRangesGetWindows) {
  const auto tensor = table(5000, 4, [](auto row, auto column) {
    const std::uint32_t random = scrambled(row * 4 + column);
    return random % 1000 == 0 ? random : 1000000000 * static_cast<std::uint32_t>(column) + random % 4000 * 16;
  });
  const auto codec = planned(tensor, 16, 16, 5000);
  ASSERT_NE(codec, nullptr);
  EXPECT_LE(codec->minimum_row_bytes(), 8U);
  expect_round_trip(*codec, tensor.data, 16);
}

TEST(DictionaryPlanner, WordsThatOccurOnceGetNoEntry) {
  // Half of the words are one of four, the others occur once each.
  const auto tensor = table(4000, 2, [](auto row, auto column) {
    return row % 2 == 0 ? scrambled(row % 8 + column) : scrambled(100000 + row * 2 + column);
  });
  for (const std::uint64_t sample_rows : {4000, 1000}) {
    const auto codec = planned(tensor, 8, 8, sample_rows);
    ASSERT_NE(codec, nullptr);
    for (const Kind& kind : unwrap(parse(codec->plan(), 8)).kinds) {
      EXPECT_EQ(kind.entries.size(), 4U);
      EXPECT_TRUE(kind.has_misses);
    }
    expect_round_trip(*codec, tensor.data, 8);
  }
}

TEST(DictionaryPlanner, RandomBitsGetNoPlan) {
  EXPECT_EQ(planned(make_tensor(DType::kU32, {1000, 32}, Values::kRandomBits, 1), 128, 128, 1000), nullptr);
  EXPECT_EQ(planned(make_tensor(DType::kU32, {1, 32}, Values::kRandomBits, 1), 128, 128, 1), nullptr);
}

/// Every column of a kind of its own: all code widths, patches, misses, signs and windows, next to one another.
std::vector<Kind> all_sorts_of_kinds(unsigned view_bytes, std::uint64_t num_columns, bool with_windows) {
  const unsigned bits = 8 * view_bytes;
  std::vector<Kind> kinds;
  for (std::uint64_t i = 0; i < num_columns; ++i) {
    const bool has_sign = i % 3 == 0;
    const unsigned domain_bits = bits - (has_sign ? 1 : 0);
    const auto shift = static_cast<unsigned>(i % 5 == 0 ? 2 : 0);
    const unsigned number_bits = domain_bits - shift;
    const std::uint64_t ones = ~std::uint64_t{0} >> (64 - number_bits);
    Kind kind{static_cast<unsigned>(i % 6), has_sign, true, shift, number_bits, (i * 77) & ones, {}};
    if (!with_windows || i % 7 < 4) {
      for (std::uint64_t entry = 0; entry < (std::uint64_t{1} << kind.code_bits) / 2 + i % 15 + 1; ++entry)
        kind.entries.push_back(entry * (i % 2 == 0 ? 1 : 3) & ones);
      kind.has_misses = i % 4 != 3;
    }
    kinds.push_back(std::move(kind));
  }
  return kinds;
}

TEST(DictionaryKernels, WhatRandomBitsDecodeToCanBeEncoded) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1, 3, 16, 17, 33, 100, 1000}) {
      for (const bool with_windows : {false, true}) {
        const std::uint64_t row_bytes = num_columns * view_bytes;
        const auto codec =
            make(make_plan(row_bytes, view_bytes, all_sorts_of_kinds(view_bytes, num_columns, with_windows)));
        for (std::uint64_t seed = 0; seed < 40; ++seed) {
          const std::uint64_t num_bytes = codec->minimum_row_bytes() + seed * row_bytes / 20;
          if (num_bytes == row_bytes) continue;
          const auto row =
              decoded(*codec, make_tensor(DType::kU8, {num_bytes}, Values::kRandomBits, seed).data, row_bytes);
          if (!row) continue;
          ASSERT_EQ(decoded(*codec, encoded(*codec, *row), row_bytes), row);
        }
      }
    }
  }
}

TEST(DictionaryKernels, RandomAndTruncatedRowsStayInTheirMemory) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1, 5, 64, 257}) {
      const std::uint64_t row_bytes = num_columns * view_bytes;
      const auto codec = make(make_plan(row_bytes, view_bytes, all_sorts_of_kinds(view_bytes, num_columns, true)));
      for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const std::uint64_t size = seed % (row_bytes + 20);
        if (size == row_bytes) continue;
        // Whether it decodes or not depends on the bits: that it stays in bounds is all there is to expect.
        (void)decoded(*codec, make_tensor(DType::kU8, {size}, Values::kRandomBits, seed).data, row_bytes);
      }
    }
  }
}

/// Kinds whose fields and patch codes have few bits, which vectors of words stand for.
std::vector<Kind> kinds_of_few_bits(unsigned view_bytes, std::uint64_t num_columns, unsigned max_patch_bits) {
  std::vector<Kind> kinds = all_sorts_of_kinds(view_bytes, num_columns, true);
  for (std::uint64_t i = 0; i < num_columns; ++i) {
    Kind& kind = kinds[i];
    kind.code_bits = static_cast<unsigned>(i % 3) - (kind.has_sign && i % 3 == 2 ? 1 : 0);
    if (kind.entries.empty()) continue;
    const std::uint64_t num_rest = kind.has_misses ? i % (1ULL << max_patch_bits) : 1 + i % (1ULL << max_patch_bits);
    kind.entries.clear();
    for (std::uint64_t entry = 0; entry < (1ULL << kind.code_bits) - 1 + num_rest; ++entry)
      kind.entries.push_back(entry * 3);
    if (kind.entries.empty()) kind.entries = {7};
  }
  return kinds;
}

/// Rows of any bits: with few or many ones, for few or many patches.
std::vector<std::byte> any_row(std::uint64_t num_bytes, std::uint64_t seed) {
  std::vector<std::byte> row = make_tensor(DType::kU8, {num_bytes}, Values::kRandomBits, seed).data;
  const std::vector<std::byte> more = make_tensor(DType::kU8, {num_bytes}, Values::kRandomBits, seed + 1000).data;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (seed % 4 == 1) row[i] |= more[i];
    if (seed % 4 == 2) row[i] &= more[i];
    if (seed % 4 == 3) row[i] = std::byte{0xFF};
  }
  return row;
}

void expect_instruction_sets_agree(const Plan& plan) {
  const RowTableStorage storage(plan);
  const Decode portable = kernels(plan.view_bytes, cpu::Isa::kPortable).decode;
  const std::uint64_t minimum = storage.tables().minimum_row_bytes;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    // The shortest rows end within what they announce; the longest hold all of it.
    const std::uint64_t num_bytes = minimum + seed * (plan.row_bytes + 8) / 16;
    std::vector<std::byte> stored = any_row(num_bytes, seed);
    stored.resize(num_bytes + RowCodec::kSlack, std::byte{0xFF});
    stored.shrink_to_fit();
    const StoredRow rows[2] = {{stored.data(), num_bytes, false}, {stored.data(), num_bytes, false}};
    std::vector<std::byte> expected(2 * plan.row_bytes, std::byte{0xEE});
    const std::uint64_t num_expected = portable(storage.tables(), rows, 2, expected.data());
    for (const cpu::Isa isa : cpu::kAllIsas) {
      if (!cpu::supported(isa)) continue;
      std::vector<std::byte> found(2 * plan.row_bytes, std::byte{0xDD});
      ASSERT_EQ(kernels(plan.view_bytes, isa).decode(storage.tables(), rows, 2, found.data()), num_expected);
      if (num_expected == 2) {
        ASSERT_EQ(found, expected) << cpu::name(isa) << ", seed " << seed;
      }
    }
  }
}

TEST(DictionaryKernels, InstructionSetsAgreeBitForBit) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1U, 3U, 7U, 8U, 9U, 15U, 16U, 17U, 24U, 31U, 40U, 64U, 100U, 257U}) {
      for (const std::vector<Kind>& kinds :
           {all_sorts_of_kinds(view_bytes, num_columns, false), all_sorts_of_kinds(view_bytes, num_columns, true),
            kinds_of_few_bits(view_bytes, num_columns, 0), kinds_of_few_bits(view_bytes, num_columns, 1),
            kinds_of_few_bits(view_bytes, num_columns, 4)}) {
        const std::uint64_t row_bytes = num_columns * view_bytes;
        ASSERT_NO_FATAL_FAILURE(expect_instruction_sets_agree(make_plan(row_bytes, view_bytes, kinds)));
        // The same columns several times.
        const Plan plan = make_plan(row_bytes, view_bytes, kinds);
        for (const std::uint64_t times : {2U, 5U, 16U}) {
          Plan repeated = plan;
          repeated.row_bytes = times * row_bytes;
          ASSERT_NO_FATAL_FAILURE(expect_instruction_sets_agree(repeated));
        }
      }
    }
  }
}

TEST(DictionaryPlan, RandomPlansAreRejectedOrWork) {
  const auto good = serialize(example_plan());
  for (std::uint64_t seed = 0; seed < 20000; ++seed) {
    auto bytes = good;
    for (unsigned i = 0; i <= seed % 3; ++i) {
      const std::uint32_t random = scrambled(seed * 3 + i);
      bytes[(random >> 8) % bytes.size()] = static_cast<std::byte>(random);
    }
    const auto codec = open(bytes, 8);
    if (!codec.ok()) continue;
    (void)decoded(*codec.value(), make_tensor(DType::kU8, {7}, Values::kRandomBits, seed).data, 8);
    (void)encoded(*codec.value(), make_tensor(DType::kU8, {8}, Values::kSmallInts, seed).data);
  }
}

}  // namespace
}  // namespace stillbit::dictionary
