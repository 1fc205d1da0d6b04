#include "codecs/rans/rans.hpp"
#include "core/bits.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
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

/// Stores and expands every row with every instruction set; all must agree. Returns the bytes of plan and rows.
std::uint64_t stored_bytes(const RowCodec& codec, const OwnedTensor& tensor, std::uint64_t row_bytes) {
  const Plan plan = unwrap(parse(codec.plan(), row_bytes));
  return testing::stored_bytes(codec, tensor.data, row_bytes, [&](cpu::Isa isa) { return make(plan, isa); });
}

/// Plans of every kind for rows of so many columns. Frequencies fall by halves; the last table lacks an index.
std::vector<Plan> plans_of_every_kind(unsigned view_bytes, std::uint64_t num_columns) {
  std::vector<Plan> plans;
  unsigned kind = 0;
  for (unsigned sign_bits = 0; sign_bits < 2; ++sign_bits) {
    const unsigned most = max_symbol_bits(view_bytes, sign_bits);
    for (unsigned symbol_bits = min_symbol_bits(view_bytes); symbol_bits <= most; ++symbol_bits, ++kind) {
      Plan plan;
      plan.row_bytes = num_columns * view_bytes;
      plan.view_bytes = view_bytes;
      plan.sign_bits = sign_bits;
      plan.symbol_bits = symbol_bits;
      plan.dropped_bits = kind % 3 == 0 ? 0 : plan.symbol_at() / (kind % 3);
      plan.scale_bits = kMinScaleBits + kind % 5;
      plan.has_escapes = kind % 2 == 0;
      plan.num_segment_levels = 1 + kind % 4 * 2;
      plan.segment_columns = kind % 4 == 0 ? 0 : static_cast<std::uint32_t>(1 + num_columns * (kind % 7) / 7);
      plan.num_column_levels = 1 + kind % 3;
      if (plan.num_column_levels > 1) {
        for (std::uint64_t i = 0; i < num_columns; ++i)
          plan.column_levels.push_back(static_cast<std::uint8_t>(i * 5 % plan.num_column_levels));
      }
      const std::uint32_t symbols = std::uint32_t{1} << symbol_bits;
      const std::uint32_t num_indices = std::min(kind % 5 == 0 ? 256U : 6U, symbols + (plan.has_escapes ? 1 : 0));
      plan.runs = {num_indices / 2, symbols - 1, symbols / 2};
      for (unsigned table = 0; table < plan.num_segment_levels + plan.num_column_levels - 1; ++table) {
        std::vector<double> counts(num_indices);
        for (std::size_t i = 0; i < num_indices; ++i)
          counts[i] = std::exp2(-static_cast<double>((i + table) % num_indices));
        if (table % 3 == 2) counts[num_indices / 3] = 0;
        counts.back() += 1;
        plan.frequencies.push_back(normalized(counts, plan.scale_bits));
      }
      if (minimum_row_bytes(plan) < plan.row_bytes) plans.push_back(std::move(plan));
    }
  }
  return plans;
}

/// Rows that the plan encodes: mostly the commonest symbols, and one in `one_in` of any kind.
OwnedTensor rows_for(const Plan& plan, std::uint64_t num_rows, unsigned one_in, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  OwnedTensor tensor{DType::kU8, {num_rows * plan.row_bytes}, Row(num_rows * plan.row_bytes)};
  const std::uint64_t symbol_mask = (std::uint64_t{1} << plan.symbol_bits) - 1;
  for (std::uint64_t i = 0; i < num_rows * plan.num_columns(); ++i) {
    const std::uint64_t symbol =
        random() % one_in == 0 ? random() : symbol_at_index(plan.runs, random() % 2 == 0 ? 0 : plan.runs.num_first);
    const std::uint64_t rest = (random() & ((std::uint64_t{1} << plan.symbol_at()) - 1)) >> plan.dropped_bits
                                                                                                << plan.dropped_bits;
    const std::uint64_t sign = plan.sign_bits == 0 ? 0 : random() % 2;
    const std::uint64_t word = rest | (symbol & symbol_mask) << plan.symbol_at() | sign << (8 * plan.view_bytes - 1);
    std::memcpy(tensor.data.data() + i * plan.view_bytes, &word, plan.view_bytes);
  }
  return tensor;
}

TEST(RansKernels, InstructionSetsAgreeBitForBit) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {33U, 64U, 130U, 199U, 256U, 700U, 1000U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        for (const unsigned one_in : {4U, 1000U}) {
          stored_bytes(*make(plan), rows_for(plan, 2, one_in, num_columns), plan.row_bytes);
          ASSERT_FALSE(HasFailure()) << view_bytes << " bytes, " << num_columns << " columns, symbols of "
                                     << plan.symbol_bits << ", " << plan.dropped_bits << " dropped, sign "
                                     << plan.sign_bits << ", scale " << plan.scale_bits;
        }
      }
    }
  }
}

TEST(RansKernels, RowsOfSuchPlansAreEncoded) {
  unsigned num_encoded = 0;
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const Plan& plan : plans_of_every_kind(view_bytes, 1000)) {
      const OwnedTensor tensor = rows_for(plan, 1, 1000000, 1);
      num_encoded += encoded(*make(plan), tensor.data).size() < plan.row_bytes;
    }
  }
  EXPECT_GT(num_encoded, 60U) << "or the other tests compare raw rows";
}

TEST(RansKernels, All16BitPatternsComeBack) {
  const OwnedTensor tensor = make_tensor(DType::kBF16, {64, 1024}, Values::kAllPatterns, 1);
  for (const Plan& plan : plans_of_every_kind(2, 1024)) {
    stored_bytes(*make(plan), tensor, 2048);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(RansKernels, All8BitPatternsComeBackEncoded) {
  // 256 indices, all in one run; the commonest byte makes the row smaller.
  Plan plan;
  plan.row_bytes = 2048;
  plan.view_bytes = 1;
  plan.sign_bits = 0;
  plan.symbol_bits = 8;
  plan.runs = {256, 7, 0};
  std::vector<double> counts(256, 1);
  counts[3] = 2000;
  plan.frequencies = {normalized(counts, plan.scale_bits)};
  Row row(2048, std::byte{10});
  for (unsigned i = 0; i < 256; ++i) row[i * 7 % 2048] = static_cast<std::byte>(i);
  for (const cpu::Isa isa : isas()) {
    const auto codec = make(plan, isa);
    const Row stored = encoded(*codec, row);
    EXPECT_LT(stored.size(), 1000U);
    EXPECT_EQ(decoded(*codec, stored, 2048), row);
  }
}

TEST(RansKernels, SurviveAnyBytesAndAgreeOnThem) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same rows in every run
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {64U, 150U, 500U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        std::vector<std::unique_ptr<RowCodec>> codecs;
        for (const cpu::Isa isa : isas()) codecs.push_back(make(plan, isa));
        const Row sound = encoded(*codecs[0], rows_for(plan, 1, 100, num_columns).data);
        for (unsigned round = 0; round < 12; ++round) {
          // Random bytes, or a sound row with a few bytes changed, or cut off.
          Row stored(random() % (plan.row_bytes + 20));
          for (std::byte& byte : stored) byte = static_cast<std::byte>(random());
          if (round % 2 == 1) {
            stored = sound;
            for (unsigned i = 0; i < round / 4; ++i)
              stored[random() % stored.size()] = static_cast<std::byte>(random());
            if (round % 4 == 1) stored.resize(random() % stored.size());
          }
          const auto expected = decoded(*codecs[0], stored, plan.row_bytes);
          for (const auto& codec : codecs) ASSERT_EQ(decoded(*codec, stored, plan.row_bytes), expected);
        }
      }
    }
  }
}

/// Rows are expanded four, two and one at a time: a raw one, and malformed ones at every place among them.
TEST(RansKernels, SeveralRowsAtATimeAreExpandedAsEachAlone) {
  constexpr std::uint64_t kNumRows = 13;
  constexpr std::uint64_t kRawRow = 5;
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const Plan& plan : plans_of_every_kind(view_bytes, 500)) {
      const OwnedTensor tensor = rows_for(plan, kNumRows, 100, view_bytes);
      const auto portable = make(plan, cpu::Isa::kPortable);
      std::vector<Row> stored;
      std::vector<StoredRow> rows;
      for (std::uint64_t i = 0; i < kNumRows; ++i) {
        const auto begin = tensor.data.begin() + static_cast<std::ptrdiff_t>(i * plan.row_bytes);
        const Row raw(begin, begin + static_cast<std::ptrdiff_t>(plan.row_bytes));
        stored.push_back(i == kRawRow ? raw : encoded(*portable, raw));
        const std::uint64_t size = stored.back().size();
        stored.back().resize(size + RowCodec::kSlack);
        rows.push_back({stored.back().data(), size, size == plan.row_bytes});
      }
      for (const cpu::Isa isa : isas()) {
        const auto codec = make(plan, isa);
        Row expanded(tensor.data.size());
        EXPECT_EQ(codec->decode(rows.data(), kNumRows, expanded.data()), kNumRows);
        EXPECT_EQ(expanded, tensor.data);
        for (std::uint64_t broken = 0; broken < kNumRows; ++broken) {
          if (rows[broken].is_raw) continue;
          const auto state = stored[broken][3];
          stored[broken][3] ^= std::byte{0xFF};
          std::fill(expanded.begin(), expanded.end(), std::byte{0});
          ASSERT_EQ(codec->decode(rows.data(), kNumRows, expanded.data()), broken);
          EXPECT_TRUE(std::equal(expanded.begin(),
                                 expanded.begin() + static_cast<std::ptrdiff_t>(broken * plan.row_bytes),
                                 tensor.data.begin()));
          stored[broken][3] = state;
        }
      }
    }
  }
}

TEST(RansKernels, TheWidestRowsComeBack) {
  for (const unsigned view_bytes : {1U, 2U, 8U}) {
    const auto plans = plans_of_every_kind(view_bytes, kMaxRowBytes / view_bytes);
    for (std::size_t kind = 0; kind < plans.size(); kind += 3) {
      stored_bytes(*make(plans[kind]), rows_for(plans[kind], 1, 50, 5), kMaxRowBytes);
      ASSERT_FALSE(HasFailure());
    }
  }
}

}  // namespace
}  // namespace stillbit::rans
