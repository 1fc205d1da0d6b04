// Rows that lie raw in nearer memory, beside those that are compressed: which are read is seen by marking them.

#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/random_bags.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace stillbit {
namespace {

using testing::HostTable;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::pool_by_warps;
using testing::RandomBags;
using testing::Row;
using testing::SectionMemory;
using testing::Values;

constexpr std::uint64_t kRows = 200;

/// Every third row in nearer memory, in an order of its own, and other than it is in the tensor.
struct FastRows {
  FastRows(const OwnedTensor& raw, std::uint64_t row_bytes) : slots(kRows), expected(raw.data) {
    const OwnedTensor other = make_tensor(raw.dtype, raw.shape, Values::kNormal, 99);
    std::vector<std::byte> moved;
    for (std::uint64_t row = 0; row < kRows; row += 3) {
      const std::uint64_t from = (row + 63) % kRows / 3 * 3;  // any
      slots[from] = static_cast<std::uint32_t>(++num_fast_rows);
      const auto* const src = other.data.data() + from * row_bytes;
      moved.insert(moved.end(), src, src + row_bytes);
      std::copy_n(src, row_bytes, expected.data() + from * row_bytes);
    }
    rows = SectionMemory(moved, 16);
  }

  std::vector<std::uint32_t> slots;
  std::uint64_t num_fast_rows = 0;
  Row expected;  ///< what lookups give
  SectionMemory rows;
};

CompressedTensor compressed(const OwnedTensor& raw, Codec codec) {
  CompressOptions options;
  options.codec = codec;
  options.packing = Packing::kSlotted;
  return compress(raw.view(), options);
}

class FastRowsOf : public ::testing::TestWithParam<Codec> {};

TEST_P(FastRowsOf, HitsAreReadThereAndMissesAreExpanded) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32}) {
    for (const std::uint64_t columns : {3U, 65U, 512U}) {
      const OwnedTensor raw = make_tensor(dtype, {kRows, columns}, Values::kOutliers, 1);
      const CompressedTensor tensor = compressed(raw, GetParam());
      const FastRows fast(raw, tensor.row_bytes());
      HostTable table(tensor);
      table.set_fast_rows(fast.slots.data(), fast.rows.data(), fast.num_fast_rows);
      std::vector<std::int64_t> index(300);
      for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i * 37 % kRows);
      Row out(index.size() * tensor.row_bytes());
      const warp::Status status = table.gather(std::span<const std::int64_t>(index), out.data());
      ASSERT_EQ(status.fault, 0U);
      for (std::size_t i = 0; i < index.size(); ++i) {
        const auto* const wanted = fast.expected.data() + static_cast<std::uint64_t>(index[i]) * tensor.row_bytes();
        ASSERT_TRUE(std::equal(wanted, wanted + tensor.row_bytes(), out.data() + i * tensor.row_bytes())) << i;
      }
    }
  }
}

TEST_P(FastRowsOf, BagsArePooledOfBoth) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {kRows, 72}, Values::kNormal, 1);
  const CompressedTensor tensor = compressed(raw, GetParam());
  const FastRows fast(raw, tensor.row_bytes());
  OwnedTensor mixed = raw;
  mixed.data = fast.expected;
  HostTable table(tensor);
  table.set_fast_rows(fast.slots.data(), fast.rows.data(), fast.num_fast_rows);
  const RandomBags given(kRows, 40, 1);
  Row out(40 * tensor.row_bytes());
  Row wanted(out.size());
  warp::Status status;
  pool_by_warps({table.bags(given.bags(PoolMode::kSum), out.data(), tensor.row_bytes(), &status)}, table.codec(),
                table.view_bytes());
  compress(mixed.view()).pool(given.bags(PoolMode::kSum), wanted);
  EXPECT_EQ(status.fault, 0U);
  EXPECT_EQ(out, wanted);
}

INSTANTIATE_TEST_SUITE_P(All, FastRowsOf,
                         ::testing::Values(Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse,
                                           Codec::kDictionary),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(FastRows, ASlotThatIsNotThereCountsAsNone) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {kRows, 64}, Values::kNormal, 1);
  const CompressedTensor tensor = compressed(raw, Codec::kWindow);
  HostTable table(tensor);
  const std::vector<std::uint32_t> slots(kRows, 1000);
  const SectionMemory rows(Row(3 * tensor.row_bytes()), 16);
  table.set_fast_rows(slots.data(), rows.data(), 3);
  const std::vector<std::int64_t> index{5, 0, 199};
  Row out(3 * tensor.row_bytes());
  EXPECT_EQ(table.gather(std::span<const std::int64_t>(index), out.data()).fault, 0U);
  EXPECT_TRUE(std::equal(out.begin(), out.begin() + 128, raw.data.begin() + 5 * 128));
}

}  // namespace
}  // namespace stillbit
