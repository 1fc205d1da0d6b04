
#include "core/bytes.hpp"
#include "statistics/positional_count.hpp"
#include "tests/support/make_tensor.hpp"

#include <stillbit/error.hpp>
#include <stillbit/statistics.hpp>

#include <gtest/gtest.h>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::Values;

/// One bit after the other.
std::vector<std::uint64_t> counted_plainly(Bytes rows, std::uint64_t row_bytes) {
  std::vector<std::uint64_t> ones(8 * row_bytes);
  for (std::uint64_t i = 0; i < rows.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      ones[i % row_bytes * 8 + bit] += static_cast<unsigned>(rows[i]) >> bit & 1;
    }
  }
  return ones;
}

class RowWidths : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(RowWidths, CountsAreThoseOfAPlainCount) {
  const std::uint64_t row_bytes = GetParam();
  for (const std::uint64_t num_rows : {0, 1, 7, 8, 9, 64, 333}) {
    const auto tensor = make_tensor(DType::kU8, {num_rows, row_bytes}, Values::kRandomBits, num_rows);
    BitStatistics statistics(row_bytes);
    statistics.add(tensor.data);
    EXPECT_EQ(statistics.num_rows(), num_rows);
    EXPECT_EQ(statistics.ones(), counted_plainly(tensor.data, row_bytes)) << num_rows << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowWidths, ::testing::Values(1, 2, 3, 8, 12, 31, 40, 64, 100, 128, 1000, 1025, 4097));

TEST(BitStatistics, PartsAddUpToTheWhole) {
  const auto tensor = make_tensor(DType::kF32, {1000, 10}, Values::kNormal, 1);
  BitStatistics whole(40);
  whole.add(tensor.data);
  BitStatistics left(40);
  BitStatistics right(40);
  left.add(Bytes(tensor.data).first(40 * 123));
  right.add(Bytes(tensor.data).subspan(40 * 123, 40 * 500));
  right.add(Bytes(tensor.data).subspan(40 * 623));
  left.merge(right);
  EXPECT_EQ(left.ones(), whole.ones());
  EXPECT_EQ(left.num_rows(), whole.num_rows());
}

TEST(BitStatistics, FoldingCountsShorterRows) {
  const auto tensor = make_tensor(DType::kF32, {100, 10}, Values::kNormal, 1);
  BitStatistics rows(40);
  rows.add(tensor.data);
  BitStatistics elements(4);
  elements.add(tensor.data);
  EXPECT_EQ(rows.folded(4).ones(), elements.ones());
  EXPECT_EQ(rows.folded(4).num_rows(), 1000U);
}

TEST(BitStatistics, CountsPastWhatThePlanesHold) {
  const std::uint64_t num_rows = kMaxPlaneRows + 1000;
  const std::vector<std::byte> rows(num_rows * 64, std::byte{1});
  BitStatistics statistics(64);
  statistics.add(rows);
  statistics.add(Bytes(rows).first(64 * 8));
  EXPECT_EQ(statistics.ones()[0], num_rows + 8);
  EXPECT_EQ(statistics.ones()[1], 0U);
}

TEST(BitStatistics, GoOnFromCountsThatWereReadOut) {
  const auto tensor = make_tensor(DType::kU8, {500, 33}, Values::kRandomBits, 3);
  BitStatistics first(33);
  first.add(Bytes(tensor.data).first(200 * 33));
  BitStatistics again(first.num_rows(), first.ones());
  again.add(Bytes(tensor.data).subspan(200 * 33));
  EXPECT_EQ(again.num_rows(), 500U);
  EXPECT_EQ(again.ones(), counted_plainly(tensor.data, 33));
}

TEST(BitStatistics, WhatCannotBeCountedIsRefused) {
  const std::vector<std::byte> rows(32);
  EXPECT_THROW(BitStatistics(0), Error);
  EXPECT_THROW(BitStatistics(5).add(rows), Error);
  EXPECT_THROW(BitStatistics(4).merge(BitStatistics(8)), Error);
  EXPECT_THROW(BitStatistics(3, std::vector<std::uint64_t>(8, 4)), Error);  // more ones than rows
  EXPECT_THROW(BitStatistics(3, std::vector<std::uint64_t>(7)), Error);
  EXPECT_THROW(BitStatistics(3, std::vector<std::uint64_t>()), Error);
}

TEST(BitStatistics, LongRowsAreCountedByWords) {
  EXPECT_EQ(counted_row_bytes(DType::kF32, 65536), 65536U);
  EXPECT_EQ(counted_row_bytes(DType::kF32, 65544), 8U);
  EXPECT_EQ(counted_row_bytes(DType::kF32, 65540), 4U);
}

TEST(PositionalCount, InstructionSetsAgree) {
  if (!cpu::supported(cpu::Isa::kAvx2)) GTEST_SKIP() << "no AVX2";
  constexpr std::uint64_t row_bytes = 205;
  const auto tensor = make_tensor(DType::kU8, {101, row_bytes}, Values::kRandomBits, 3);
  std::vector<std::byte> portable(plane_bytes_of(row_bytes));
  std::vector<std::byte> avx2(plane_bytes_of(row_bytes));
  add_to_planes(tensor.data.data(), 101, row_bytes, portable.data(), cpu::Isa::kPortable);
  add_to_planes(tensor.data.data(), 101, row_bytes, avx2.data(), cpu::Isa::kAvx2);
  EXPECT_EQ(portable, avx2);
}

}  // namespace
}  // namespace stillbit
