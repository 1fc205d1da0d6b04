// Where the bits of encoded rows go, by the examples of the codecs' own pages.

#include "codecs/dictionary/dictionary.hpp"
#include "codecs/escape/escape.hpp"
#include "codecs/ibp/ibp.hpp"
#include "codecs/rans/rans.hpp"
#include "codecs/sparse/sparse.hpp"
#include "codecs/window/window.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace stillbit {
namespace {

using testing::encoded;
using testing::Row;
using testing::row_of;

RowAccount account_of(const RowCodec& codec, const Row& row) {
  Row stored = encoded(codec, row);
  const std::size_t size = stored.size();
  stored.resize(size + RowCodec::kSlack);
  RowAccount account;
  codec.account({stored.data(), size, false}, account);
  EXPECT_LE(account.num_bits(), 8 * size);
  return account;
}

TEST(Account, OfIbpHasParticipationFreeBitsAndPatches) {
  const ibp::Entry checked{0x3F00, 0xFF00, 0x0F00};
  const auto codec = ibp::make(ibp::make_plan(6, 2, {checked, checked, ibp::Entry{}}));
  const RowAccount agreeing = account_of(*codec, row_of({0x3F12, 0x3F34, 0xABCD}));
  EXPECT_EQ(agreeing.marks, 2U);
  EXPECT_EQ(agreeing.values, 32U);
  EXPECT_EQ(agreeing.num_bits(), 34U);
  const RowAccount deviating = account_of(*codec, row_of({0x3F12, 0x5F34, 0xABCD}));
  EXPECT_EQ(deviating.exceptions, 4U);
  EXPECT_EQ(deviating.num_bits(), 38U);
  EXPECT_EQ(deviating.word_bits, (std::vector<float>{9, 13, 16}));
}

TEST(Account, OfWindowHasFieldsAndExceptions) {
  window::Plan plan;
  plan.row_bytes = 10;
  plan.view_bytes = 2;
  plan.is_signed = true;
  plan.field_bits = 11;
  plan.base_bytes = 1;
  plan.base_shift = 8;
  plan.bases = {0x7600};
  const RowAccount account = account_of(*window::make(plan), row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00}));
  EXPECT_EQ(account.codes, 55U);
  EXPECT_EQ(account.exceptions, 16U);
  EXPECT_EQ(account.num_bits(), 71U);
  EXPECT_EQ(account.word_bits, (std::vector<float>{11, 11, 11, 27, 11}));
}

TEST(Account, OfWindowKnowsTheWidestFields) {
  window::Plan plan;
  plan.row_bytes = 32;
  plan.view_bytes = 8;
  plan.field_bits = 57;
  plan.base_bytes = 8;
  plan.bases = {0};
  Row row(32);
  for (unsigned i = 0; i < 4; ++i) store(row.data() + std::size_t{8} * i, (std::uint64_t{1} << 57) - 2 - i);
  const RowAccount account = account_of(*window::make(plan), row);
  EXPECT_EQ(account.codes, 4U * 57);
  EXPECT_EQ(account.exceptions, 0U);
}

TEST(Account, OfEscapeHasFixedFieldsCodesAndWhatEscapes) {
  escape::Plan plan;
  plan.row_bytes = 10;
  plan.view_bytes = 2;
  plan.sign_bits = 1;
  plan.symbol_bits = 8;
  plan.tiers = {escape::Tier{2, {0x78, 0x79, 0x77}}};
  const RowAccount account = account_of(*escape::make(plan), row_of({0x3C12, 0xBC92, 0x3B80, 0x4000, 0x3C00}));
  EXPECT_EQ(account.values, 40U);
  EXPECT_EQ(account.codes, 10U);
  EXPECT_EQ(account.exceptions, 8U);
  EXPECT_EQ(account.word_bits, (std::vector<float>{10, 10, 10, 18, 10}));
}

/// Every second symbol has no code in the first tier, of 64 in a block and five behind it.
TEST(Account, OfEscapeFindsEscapesInBlocksOfAnyWidth) {
  for (unsigned bits = 1; bits <= 4; ++bits) {
    escape::Plan plan;
    plan.row_bytes = 138;
    std::vector<std::uint16_t> symbols((std::size_t{1} << bits) - 1);
    std::iota(symbols.begin(), symbols.end(), std::uint16_t{100});
    plan.tiers = {escape::Tier{bits, symbols}, escape::Tier{1, {7}}};
    Row row(138);
    for (unsigned i = 0; i < 69; ++i) {
      const unsigned symbol = i % 2 == 1 ? 7 : 100 + i / 2 % static_cast<unsigned>(symbols.size());
      store(row.data() + std::size_t{2} * i, static_cast<std::uint16_t>(symbol << 7));
    }
    store(row.data(), std::uint16_t{9 << 7});
    const RowAccount account = account_of(*escape::make(plan), row);
    EXPECT_EQ(account.values, 69U * 8);
    EXPECT_EQ(account.codes, 69U * bits + 8) << "with the number of escapes, a byte";
    EXPECT_EQ(account.exceptions, 35U + 8) << "34 and the first have a code in the second tier; the first has none";
    const float first = 8 + static_cast<float>(bits) + 8.0F / 69;
    EXPECT_FLOAT_EQ(account.word_bits[0], first + 1 + 8);
    EXPECT_FLOAT_EQ(account.word_bits[1], first + 1);
    EXPECT_FLOAT_EQ(account.word_bits[68], first);
  }
}

TEST(Account, OfSparseHasPositionsCodesAndExceptions) {
  const sparse::Plan plan{.row_bytes = 16, .view_bytes = 2, .low_bits = 2, .code_bits = 1, .values = {0x3C00, 0xBC00}};
  const RowAccount plain = account_of(*sparse::make(plan), row_of({0, 0, 0x3C00, 0, 0, 0xBC00, 0, 0}));
  EXPECT_EQ(plain.positions, 4U + 4);
  EXPECT_EQ(plain.codes, 2U);
  EXPECT_EQ(plain.exceptions, 1U) << "the end";
  const RowAccount odd = account_of(*sparse::make(plan), row_of({0, 0, 0x3C00, 0, 0, 0xBC00, 0, 0x7E01}));
  EXPECT_EQ(odd.exceptions, 21U);
  EXPECT_EQ(odd.num_bits(), 31U);
  EXPECT_FLOAT_EQ(std::accumulate(odd.word_bits.begin(), odd.word_bits.end(), 0.0F), 31.0F);
  EXPECT_GT(odd.word_bits[7], 20.0F);
}

TEST(Account, OfSparseReadsBitmaps) {
  const sparse::Plan plan{.row_bytes = 16, .view_bytes = 2, .low_bits = 0, .code_bits = 1, .values = {0x3C00, 0xBC00}};
  const RowAccount account = account_of(*sparse::make(plan), row_of({0, 0, 0x3C00, 0, 0, 0xBC00, 0, 0}));
  EXPECT_EQ(account.positions, 8U);
  EXPECT_EQ(account.codes, 2U);
  EXPECT_EQ(account.num_bits(), 11U);
}

TEST(Account, OfRansSharesWhatTheStatesHaveBeyondTheSymbols) {
  rans::Plan plan;
  plan.row_bytes = 200;
  plan.scale_bits = 8;
  plan.num_column_levels = 2;
  plan.runs = {2, 0x78, 0};
  plan.column_levels.assign(100, 0);
  plan.column_levels.back() = 1;
  plan.frequencies = {{256, 0}, {192, 64}};
  Row row(200);
  for (unsigned i = 0; i < 99; ++i) store(row.data() + std::size_t{2} * i, static_cast<std::uint16_t>(0x3C00 + i));
  store(row.data() + 198, std::uint16_t{0x3CE3});
  const RowAccount account = account_of(*rans::make(plan), row);
  EXPECT_EQ(account.values, 800U);
  EXPECT_EQ(account.codes, 512U) << "the states, less what they carry of the values";
  EXPECT_EQ(account.num_bits(), 8U * 164);
  EXPECT_FLOAT_EQ(account.word_bits[99] - account.word_bits[0], 2.0F) << "one slot in four";
  EXPECT_NEAR(std::accumulate(account.word_bits.begin(), account.word_bits.end(), 0.0), 1312.0, 0.01);
}

TEST(Account, OfRansHasWhatEscapes) {
  rans::Plan plan;
  plan.row_bytes = 400;
  plan.symbol_bits = 10;
  plan.has_escapes = true;
  plan.num_segment_levels = 2;
  plan.segment_columns = 100;
  plan.runs = {1, 0x1E0, 0};
  plan.frequencies = {{4095, 1}, {4000, 96}};
  Row row(400);
  for (unsigned i = 0; i < 200; ++i) store(row.data() + std::size_t{2} * i, std::uint16_t{0x3C00});
  store(row.data() + 20, std::uint16_t{0x7FC0});
  const RowAccount account = account_of(*rans::make(plan), row);
  EXPECT_EQ(account.values, 200U * 6);
  EXPECT_EQ(account.exceptions, 16U);
  // The segment takes the level whose escape has the shorter code.
  EXPECT_NEAR(account.word_bits[10] - account.word_bits[11], std::log2(4000.0 / 96) + 16, 0.001);
  EXPECT_NEAR(std::accumulate(account.word_bits.begin(), account.word_bits.end(), 0.0),
              static_cast<double>(account.num_bits()), 0.01);
}

TEST(Account, OfDictionaryHasFieldsPatchesAndMisses) {
  const dictionary::Kind patched{1, false, true, 4, 8, 0x100, {2, 5, 7}};
  const dictionary::Kind with_sign{1, true, false, 8, 2, 0x3C, {0, 3}};
  const dictionary::Kind window{3, false, true, 0, 16, 100, {}};
  const auto codec = dictionary::make(dictionary::make_plan(8, 2, {patched, patched, with_sign, window}));
  EXPECT_EQ(account_of(*codec, row_of({0x1020, 0x1020, 0xBF00, 103})).num_bits(), 7U);
  const RowAccount account = account_of(*codec, row_of({0x1070, 0x1330, 0x3C00, 90}));
  EXPECT_EQ(account.codes, 7U);
  EXPECT_EQ(account.exceptions, 28U);
  EXPECT_EQ(account.word_bits, (std::vector<float>{3, 11, 2, 19}));
}

}  // namespace
}  // namespace stillbit
