#include "codecs/ibp/ibp.hpp"
#include "codecs/ibp/kernels.hpp"
#include "codecs/ibp/lane.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <random>

namespace stillbit::ibp {
namespace {

using testing::encoded;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::row_of;
using testing::Values;

/// The example of spec.md.
Plan example_plan() {
  const Entry checked{0x3F00, 0xFF00, 0x0F00};
  return make_plan(6, 2, {checked, checked, Entry{}});
}

/// What a stored row expands to; one that is as long as the row is raw.
std::optional<testing::Row> decoded(const RowCodec& codec, const testing::Row& stored, std::uint64_t row_bytes) {
  return testing::decoded(codec, stored, row_bytes, stored.size() == row_bytes);
}

TEST(IbpRow, IsWhatTheSpecificationShows) {
  const auto codec = make(example_plan());
  EXPECT_EQ(codec->minimum_row_bytes(), 5U);

  const auto agreeing = row_of({0x3F12, 0x3F34, 0xABCD});
  const auto stored = encoded(*codec, agreeing);
  ASSERT_EQ(stored.size(), 5U);
  // 11 | 0x12 | 0x34 | 0xABCD, from the low end up.
  std::uint64_t bits = 0;
  std::memcpy(&bits, stored.data(), 5);
  EXPECT_EQ(bits, 0b11U | 0x12U << 2 | 0x34U << 10 | std::uint64_t{0xABCD} << 18);
  EXPECT_EQ(decoded(*codec, stored, 6), agreeing);

  const auto deviating = row_of({0x3F12, 0x5F34, 0xABCD});
  const auto patched = encoded(*codec, deviating);
  ASSERT_EQ(patched.size(), 5U);
  std::memcpy(&bits, patched.data(), 5);
  EXPECT_EQ(bits, 0b01U | 0x12U << 2 | 0x34U << 10 | std::uint64_t{0xABCD} << 18 | std::uint64_t{0x6} << 34);
  EXPECT_EQ(decoded(*codec, patched, 6), deviating);

  const auto breaking = row_of({0x3F12, 0x5E34, 0xABCD});
  EXPECT_EQ(encoded(*codec, breaking), breaking);
}

TEST(IbpRow, TooShortARowIsMalformed) {
  const auto codec = make(example_plan());
  const auto stored = encoded(*codec, row_of({0x3F12, 0x5F34, 0xABCD}));
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_EQ(decoded(*codec, {stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(size)}, 6), std::nullopt);
  }
}

TEST(IbpPlan, ComesBack) {
  const auto bytes = serialize(example_plan());
  const Plan plan = unwrap(parse(bytes, 6));
  EXPECT_EQ(plan.view_bytes, 2U);
  EXPECT_EQ(plan.entries, example_plan().entries);
  EXPECT_EQ(plan.column_entries, (std::vector<std::uint16_t>{0, 0, 1}));
  EXPECT_EQ(serialized_bytes(plan), bytes.size());
}

TEST(IbpPlan, EveryBrokenRuleIsNamed) {
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
  expect_fault("view_bytes", 6, set(0, 3));
  expect_fault("view_bytes", 6, set(0, 16));
  expect_fault("view_bytes", 5, set(0, 2));
  expect_fault("entry_bits", 6, set(1, 2));
  expect_fault("reserved", 6, set(2, 1));
  expect_fault("num_entries", 6, set(4, 0));
  expect_fault("num_entries", 6, set(7, 1));
  expect_fault("value", 6, set(8, 0xFF));
  expect_fault("constant", 6, set(8 + 4, 0xFF));
  expect_fault("instead of", 6, [](auto& bytes) { bytes.pop_back(); });
  expect_fault("shorter", 6, [](auto& bytes) { bytes.resize(7); });
  expect_fault("row_bytes", 0, [](auto&) {});
  expect_fault("row_bytes", kMaxRowBytes + 2, [](auto&) {});
  // Three entries need two bits a column, of which one pattern names no entry.
  const Plan three = make_plan(6, 2, {Entry{0, 0xFF00, 0xFF00}, Entry{0, 0xF000, 0xF000}, Entry{}});
  auto bytes = serialize(three);
  bytes.back() |= std::byte{0x3F};
  EXPECT_FALSE(parse(bytes, 6).ok());
  // A plan that makes no row smaller.
  EXPECT_FALSE(open(serialize(make_plan(6, 2, {Entry{}, Entry{}, Entry{}})), 6).ok());
}

TEST(IbpLane, DepositIsTheInverseOfExtract) {
  const std::uint64_t masks[] = {
      0, 1, ~std::uint64_t{0}, 0xFF00FF00FF00FF00U, 0x8000000000000001U, 0x5555555555555555U, 0x7FFFFFFFFFFFFFFFU};
  const std::uint64_t word = 0x0123456789ABCDEFU;
  for (const std::uint64_t mask : masks) {
    const std::uint64_t bits = extract_bits(word, mask);
    EXPECT_EQ(deposit_bits(bits, mask), word & mask);
    EXPECT_EQ(bits >> 1 >> (std::popcount(mask) == 0 ? 0 : std::popcount(mask) - 1), 0U);
  }
}

TEST(IbpMoves, GatherAndSpreadAsLanesDo) {
  std::mt19937_64 random(1);
  for (unsigned i = 0; i < 2000; ++i) {
    const std::uint64_t mask = i == 0   ? 0
                               : i == 1 ? ~std::uint64_t{0}
                                        : random() & (i % 2 == 0 ? random() : random() >> 9);
    const Moves moves = moves_of(mask);
    const std::uint64_t word = random();
    std::uint64_t gathered = word & mask;
    for (unsigned step = 0; step < kNumMoves; ++step) {
      const std::uint64_t moved = gathered & moves[step];
      gathered = (gathered ^ moved) | moved >> (1U << step);
    }
    ASSERT_EQ(gathered, extract_bits(word, mask));
    std::uint64_t spread = word;
    for (unsigned step = kNumMoves; step-- > 0;)
      spread = (spread & ~moves[step]) | (spread << (1U << step) & moves[step]);
    ASSERT_EQ(spread & mask, deposit_bits(word, mask));
  }
}

/// A codec for a tensor, with the plan that its statistics give.
std::unique_ptr<RowCodec> planned(const OwnedTensor& tensor, std::uint64_t row_bytes) {
  BitStatistics statistics(row_bytes);
  statistics.add(tensor.data);
  return plan(
      {{tensor.data.size() / row_bytes, row_bytes}, num_bytes(tensor.dtype), row_bytes, statistics, tensor.data, true});
}

TEST(IbpPlanner, ConstantBitsAreFoundAtThresholdOne) {
  // Each column has a value of its own in every row: nothing is left to store.
  OwnedTensor tensor = make_tensor(DType::kU32, {1, 32}, Values::kRandomBits, 1);
  const auto row = tensor.data;
  for (int i = 1; i < 1000; ++i) tensor.data.insert(tensor.data.end(), row.begin(), row.end());
  const auto codec = planned(tensor, 128);
  ASSERT_NE(codec, nullptr);
  EXPECT_EQ(codec->minimum_row_bytes(), 0U);
}

TEST(IbpPlanner, RandomBitsGetNoPlan) {
  EXPECT_EQ(planned(make_tensor(DType::kU32, {1000, 32}, Values::kRandomBits, 1), 128), nullptr);
}

TEST(IbpPlanner, MasksWithDeviationsAreUsedWherePlainConstantsAreNot) {
  const OwnedTensor tensor = make_tensor(DType::kF32, {2000, 64}, Values::kOutliers, 1);
  const auto codec = planned(tensor, 256);
  ASSERT_NE(codec, nullptr);
  const Plan plan = unwrap(parse(codec->plan(), 256));
  EXPECT_TRUE(
      std::any_of(plan.entries.begin(), plan.entries.end(), [](const Entry& entry) { return entry.patch() != 0; }));
}

/// Every kernel of every instruction set, on the same rows and the same masks.
TEST(IbpKernels, InstructionSetsAgreeBitForBit) {
  if (!cpu::supported(cpu::Isa::kAvx2)) GTEST_SKIP() << "no AVX2";
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1, 3, 4, 7, 8, 31, 33, 64, 65, 130}) {
      for (const Values values : testing::kAllValues) {
        const std::uint64_t row_bytes = num_columns * view_bytes;
        const OwnedTensor tensor = make_tensor(DType::kU8, {50, row_bytes}, values, num_columns);
        std::vector<Entry> entries;
        std::uint64_t state = num_columns;
        const std::uint64_t ones = ~std::uint64_t{0} >> (64 - 8 * view_bytes);
        for (std::uint64_t i = 0; i < num_columns; ++i) {
          const std::uint64_t mask = (state = state * 6364136223846793005U + 1442695040888963407U) & ones;
          entries.push_back(
              {(state >> 7) & mask, mask, (state >> 13) & mask & (values == Values::kRandomBits ? 0 : 0x11)});
        }
        const auto codec = make(make_plan(row_bytes, view_bytes, entries));
        const RowMaskStorage storage(make_plan(row_bytes, view_bytes, entries), true);
        const Kernels& portable = kernels(view_bytes, cpu::Isa::kPortable);
        const Kernels& avx2 = kernels(view_bytes, cpu::Isa::kAvx2);

        std::vector<std::uint32_t> sizes(50);
        std::vector<std::uint32_t> other_sizes(50);
        portable.measure(storage.masks(), tensor.data.data(), 50, sizes.data());
        avx2.measure(storage.masks(), tensor.data.data(), 50, other_sizes.data());
        ASSERT_EQ(sizes, other_sizes);
        for (std::uint64_t i = 0; i < 50; ++i) {
          const std::byte* row = tensor.data.data() + i * row_bytes;
          std::vector<std::byte> stored(row_bytes + RowCodec::kSlack);
          std::vector<std::byte> other(row_bytes + RowCodec::kSlack);
          ASSERT_EQ(portable.encode(storage.masks(), row, stored.data()), sizes[i]);
          ASSERT_EQ(avx2.encode(storage.masks(), row, other.data()), sizes[i]);
          ASSERT_TRUE(std::equal(stored.begin(), stored.begin() + sizes[i], other.begin()));
          ASSERT_EQ(decoded(*codec, {stored.begin(), stored.begin() + sizes[i]}, row_bytes),
                    testing::Row(row, row + row_bytes));
          for (const Kernels* isa : {&portable, &avx2}) {
            std::vector<std::byte> back(row_bytes);
            const StoredRow found{stored.data(), sizes[i], sizes[i] == row_bytes};
            ASSERT_EQ(isa->decode(storage.masks(), &found, 1, back.data()), 1U);
            ASSERT_TRUE(std::equal(back.begin(), back.end(), row));
          }
        }

        const OwnedTensor masks = make_tensor(DType::kU8, {kNumCandidates, row_bytes}, Values::kRandomBits, 9);
        std::vector<std::uint32_t> counts(kNumCandidates * num_columns);
        std::vector<std::uint32_t> other_counts(counts.size());
        portable.count_deviations(tensor.data.data(), 50, row_bytes, tensor.data.data(), masks.data.data(),
                                  counts.data());
        avx2.count_deviations(tensor.data.data(), 50, row_bytes, tensor.data.data(), masks.data.data(),
                              other_counts.data());
        ASSERT_EQ(counts, other_counts);
      }
    }
  }
}

/// Entries of every kind: wide and narrow masks, all columns alike or each with its own.
std::vector<Entry> entries_of_every_kind(unsigned view_bytes, std::uint64_t num_columns, unsigned num_distinct) {
  std::mt19937_64 random(num_columns + num_distinct);
  const std::uint64_t ones = ~std::uint64_t{0} >> (64 - 8 * view_bytes);
  std::vector<Entry> distinct;
  for (unsigned i = 0; i < num_distinct; ++i) {
    const std::uint64_t mask = (i % 4 == 0 ? ones : i % 4 == 1 ? ones << (4 * view_bytes) : random()) & ones;
    distinct.push_back({random() & mask, mask, mask & (i % 3 == 0 ? 0 : random())});
  }
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < num_columns; ++i) entries.push_back(distinct[i % num_distinct]);
  return entries;
}

TEST(IbpKernels, SurviveAnyBytesAndAgreeOnThem) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same rows in every run
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {1, 2, 9, 64, 100, 129, 500}) {
      for (const unsigned num_distinct : {1U, 2U, 5U, 40U}) {
        const std::uint64_t row_bytes = num_columns * view_bytes;
        const auto codec =
            make(make_plan(row_bytes, view_bytes, entries_of_every_kind(view_bytes, num_columns, num_distinct)));
        for (unsigned round = 0; round < 16; ++round) {
          // Random bytes with many or few ones: few ones make many deviations.
          testing::Row stored((round % 8 < 2 ? 0 : codec->minimum_row_bytes()) + random() % (row_bytes + 9));
          for (std::byte& byte : stored) {
            const std::uint64_t bits = random();
            byte = static_cast<std::byte>(round % 2 == 0 ? bits : round % 4 == 1 ? 0 : bits | bits >> 8 | bits >> 16);
          }
          (void)testing::decoded(*codec, stored, row_bytes);
        }
      }
    }
  }
}

}  // namespace
}  // namespace stillbit::ibp
