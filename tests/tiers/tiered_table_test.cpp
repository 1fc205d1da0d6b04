// Tables in tiers against a plain array that goes through the same.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <string>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

enum class Home { kSlottedInMemory, kPackedInMemory, kMappedPacked, kMappedSlotted, kGuardedFile };

std::string to_text(Home home) {
  constexpr const char* kNames[] = {"slotted", "packed", "mapped packed", "mapped slotted", "file"};
  return kNames[static_cast<int>(home)];
}

CompressOptions options_for(Home home, std::optional<Codec> codec) {
  const bool is_slotted = home == Home::kSlottedInMemory || home == Home::kMappedSlotted;
  return {.codec = codec, .packing = is_slotted ? Packing::kSlotted : Packing::kPacked, .num_threads = 1};
}

/// A table of a tensor in one of the places that tensors lie in.
TieredTable make_table(const TemporaryFolder& folder, const OwnedTensor& raw, Home home, const TierOptions& options,
                       std::optional<Codec> codec = {}) {
  CompressedTensor tensor = compress(raw.view(), options_for(home, codec));
  if (home == Home::kSlottedInMemory || home == Home::kPackedInMemory) return TieredTable(std::move(tensor), options);
  const auto path = folder.path() / "t.safetensors";
  NamedTensors tensors;
  tensors.emplace_back("t", std::move(tensor));
  save(path, tensors);
  if (home == Home::kGuardedFile) return TieredTable::open(path, "t", options);
  return TieredTable(load(path)[0].second, options);
}

std::vector<std::byte> gathered(const TieredTable& table, const std::vector<std::int64_t>& index,
                                unsigned num_threads = 1) {
  std::vector<std::byte> out(index.size() * table.row_bytes());
  table.gather(index, out, num_threads);
  return out;
}

/// What the same gather of a plain array gives.
std::vector<std::byte> expected(const OwnedTensor& raw, std::uint64_t row_bytes,
                                const std::vector<std::int64_t>& index) {
  std::vector<std::byte> rows;
  for (const std::int64_t row : index) {
    const auto begin = raw.data.begin() + row * static_cast<std::ptrdiff_t>(row_bytes);
    rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(row_bytes));
  }
  return rows;
}

void expect_within_budgets(const TieredTable& table) {
  const TieredStatistics statistics = table.statistics();
  for (const TierStatistics& tier : {statistics.fast, statistics.warm}) {
    ASSERT_LE(tier.bytes, tier.budget_bytes);
    ASSERT_LE(tier.num_rows, tier.max_rows);
  }
}

/// A row number: mostly one of few, so that rows move up.
std::int64_t drawn_row(std::mt19937_64& random, std::uint64_t num_rows) {
  const std::uint64_t among = random() % 4 == 0 ? num_rows : std::max<std::uint64_t>(1, num_rows / 8);
  return static_cast<std::int64_t>(random() % among);
}

/// One random operation on the table and on the array.
void act(TieredTable& table, OwnedTensor& raw, std::mt19937_64& random, bool can_update) {
  const std::uint64_t num_rows = table.num_rows();
  std::vector<std::int64_t> index(random() % 300);
  for (auto& row : index) row = drawn_row(random, num_rows);
  const auto row_bytes = static_cast<std::ptrdiff_t>(table.row_bytes());
  switch (random() % 6) {
    case 0: {
      if (!can_update) break;
      const Values values = testing::kAllValues[random() % std::size(testing::kAllValues)];
      index.resize(index.size() % 8);
      std::vector<std::uint64_t> shape = raw.shape;
      shape[0] = index.size();
      const OwnedTensor rows = make_tensor(raw.dtype, shape, values, random());
      try {
        table.update(index, rows.data);
      } catch (const Error& error) {
        ASSERT_NE(std::string(error.what()).find("nothing was updated"), std::string::npos) << error.what();
        break;
      }
      for (std::size_t i = 0; i < index.size(); ++i)
        std::copy_n(rows.data.begin() + static_cast<std::ptrdiff_t>(i) * row_bytes, row_bytes,
                    raw.data.begin() + index[i] * row_bytes);
      break;
    }
    case 1:
      table.prefetch(index, random() % 2 == 0);
      break;
    case 2: {
      if (random() % 4 != 0) break;
      std::vector<std::uint64_t> counts(num_rows);
      for (auto& count : counts) count = random() % 5;
      table.place(counts);
      break;
    }
    default:
      ASSERT_EQ(gathered(table, index, 1 + random() % 2), expected(raw, table.row_bytes(), index));
  }
  expect_within_budgets(table);
}

RC_GTEST_PROP(TieredTable, DoesWhatAPlainArrayDoes, ()) {
  const auto codec =
      *rc::gen::element<std::optional<Codec>>(std::nullopt, Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape,
                                              Codec::kSparse, Codec::kDictionary, Codec::kRans);
  const auto values =
      *rc::gen::elementOf(std::vector<Values>(std::begin(testing::kAllValues), std::end(testing::kAllValues)));
  const auto dtype = *rc::gen::element(DType::kBF16, DType::kF32, DType::kI64, DType::kU8);
  const auto home = *rc::gen::element(Home::kSlottedInMemory, Home::kPackedInMemory, Home::kMappedPacked,
                                      Home::kMappedSlotted, Home::kGuardedFile);
  const auto num_rows = *rc::gen::inRange<std::uint64_t>(1, 600);
  const auto num_columns = *rc::gen::inRange<std::uint64_t>(1, 100);
  const auto fast_part = *rc::gen::inRange<std::uint64_t>(0, 12);
  const auto warm_part = *rc::gen::inRange<std::uint64_t>(0, 12);
  const auto policy = *rc::gen::element(TierPolicy::kTinyLfu, TierPolicy::kTinyLfu, TierPolicy::kStatic);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  RC_TAG(to_text(home));

  const TemporaryFolder folder;
  OwnedTensor raw = make_tensor(dtype, {num_rows, num_columns}, values, seed);
  const std::uint64_t stored = compress(raw.view(), options_for(home, codec)).stored_bytes();
  const bool is_mapped = home != Home::kSlottedInMemory && home != Home::kPackedInMemory;
  TierOptions options;
  // From nothing to more than everything; what holds no row at all is refused, and tested below.
  options.fast_bytes = fast_part == 0 ? 0 : 2000 + raw.data.size() * fast_part / 8;
  if (is_mapped && warm_part > 0) options.warm_bytes = 4000 + raw.data.size() * warm_part / 8;
  if (!is_mapped && warm_part > 0) options.warm_bytes = stored + raw.data.size() * (warm_part - 1) / 8;
  options.policy = policy;
  TieredTable table = make_table(folder, raw, home, options, codec);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) act(table, raw, random, true);
  std::vector<std::byte> all(raw.data.size());
  table.decompress(all, 1);
  RC_ASSERT(all == raw.data);
}

TEST(TieredTable, HoldsAllRowsWhereTheBudgetIsLargeEnough) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {500, 64}, Values::kNormal, 1);
  TieredTable table = make_table(folder, raw, Home::kGuardedFile, {.fast_bytes = 2 * raw.data.size()});
  std::vector<std::int64_t> index(500);
  std::iota(index.begin(), index.end(), 0);
  for (int round = 0; round < 2; ++round) EXPECT_EQ(gathered(table, index), raw.data);
  const TieredStatistics statistics = table.statistics();
  EXPECT_EQ(statistics.fast.num_rows, 500U);
  EXPECT_EQ(statistics.fast.num_lookups, 500U);
  EXPECT_EQ(statistics.cold.num_lookups, 500U);
  EXPECT_EQ(statistics.fast.num_filled, 500U);
  EXPECT_EQ(statistics.fast.num_evicted, 0U);
}

TEST(TieredTable, ColdRowsBecomeWarmAndAreNotReadAgain) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {5000, 64}, Values::kNormal, 1);
  TieredTable table = make_table(folder, raw, Home::kMappedPacked, {.warm_bytes = 200000});
  std::vector<std::int64_t> index(300);
  std::iota(index.begin(), index.end(), 1000);
  for (int round = 0; round < 4; ++round) EXPECT_EQ(gathered(table, index), expected(raw, 256, index));
  EXPECT_EQ(table.statistics().cold.num_lookups, 300U);
  EXPECT_EQ(table.statistics().warm.num_lookups, 900U);
}

TEST(TieredTable, UpdatedRowsStayWhateverElseIsLookedUp) {
  const TemporaryFolder folder;
  OwnedTensor raw = make_tensor(DType::kF32, {2000, 16}, Values::kNormal, 1);
  TieredTable table = make_table(folder, raw, Home::kMappedPacked, {.fast_bytes = 4000, .warm_bytes = 20000});
  const OwnedTensor rows = make_tensor(DType::kF32, {50, 16}, Values::kRandomBits, 2);
  std::vector<std::int64_t> index(50);
  std::iota(index.begin(), index.end(), 100);
  table.update(index, rows.data);
  std::copy(rows.data.begin(), rows.data.end(), raw.data.begin() + std::ptrdiff_t{100} * 64);
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int64_t> others(200);
    for (auto& row : others) row = drawn_row(random, 2000);
    ASSERT_EQ(gathered(table, others), expected(raw, 64, others));
  }
  EXPECT_EQ(gathered(table, index), rows.data);
  EXPECT_EQ(table.statistics().num_updated_held, 50U);
  EXPECT_GT(table.statistics().warm.num_evicted, 0U);
}

TEST(TieredTable, CorruptRowsAreAnErrorAndOthersAreNot) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {2000, 64}, Values::kNormal, 1);
  const auto path = folder.path() / "t.safetensors";
  NamedTensors tensors;
  tensors.emplace_back("t", compress(raw.view()));
  ASSERT_NE(tensors[0].second.codec(), Codec::kRaw);
  save(path, tensors);
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(size / 2);
  file << std::string(static_cast<std::size_t>(size / 4), '\xff');
  file.close();
  TieredTable table = TieredTable::open(path, "t", {.fast_bytes = 100000});
  const std::vector<std::int64_t> corrupted{1200};
  table.prefetch(corrupted);  // whoever needs the row is told
  table.wait_for_prefetches();
  try {
    gathered(table, corrupted);
    FAIL() << "a corrupt row was expanded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_STREQ(error.what(), "row 1200 is malformed");
  }
  EXPECT_EQ(gathered(table, {0, 5}), expected(raw, 256, {0, 5}));
}

TEST(TieredTable, WithoutRowsOrBytes) {
  for (const auto& shape : {std::vector<std::uint64_t>{0, 8}, {8, 0}}) {
    const OwnedTensor raw = make_tensor(DType::kF32, shape, Values::kNormal, 1);
    TieredTable table(compress(raw.view()), {.fast_bytes = 1000});
    EXPECT_EQ(gathered(table, {}).size(), 0U);
    table.update(std::vector<std::int64_t>{}, {});
    EXPECT_EQ(table.prefetch({}), 0U);
    if (shape[0] > 0) {
      EXPECT_EQ(gathered(table, {0, 7}).size(), 0U);
    }
    EXPECT_THROW(gathered(table, {8}), Error);
    table.place(std::vector<std::uint64_t>(shape[0], 1));
    table.close();
    EXPECT_THROW(gathered(table, {}), Error);
  }
}

TEST(TieredTable, RowsLongerThanAPiece) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {7, 100000}, Values::kNormal, 1);
  for (const Home home : {Home::kSlottedInMemory, Home::kMappedPacked}) {
    TieredTable table =
        make_table(folder, raw, home, {.fast_bytes = raw.data.size() / 2, .warm_bytes = 2 * raw.data.size()});
    for (int round = 0; round < 3; ++round)
      ASSERT_EQ(gathered(table, {3, 6, 0, 3}), expected(raw, 400000, {3, 6, 0, 3}));
  }
}

}  // namespace
}  // namespace stillbit
