// Tables in tiers against a plain array that goes through the same.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
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
  const auto codec = *rc::gen::element<std::optional<Codec>>(std::nullopt, Codec::kRaw, Codec::kIbp, Codec::kWindow,
                                                             Codec::kEscape, Codec::kSparse, Codec::kDictionary);
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

}  // namespace
}  // namespace stillbit
