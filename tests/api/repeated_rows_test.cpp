// Gathers that name rows more than once: these are expanded once, and copied.

#include "api/distinct_rows.hpp"

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <set>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

using Indices = std::vector<std::int64_t>;
using Draw = std::function<std::int64_t(std::size_t i, std::mt19937_64& random)>;

Indices indices(std::size_t count, const Draw& draw) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same indices in every run
  Indices index(count);
  for (std::size_t i = 0; i < count; ++i) index[i] = draw(i, random);
  return index;
}

/// Of tables of 3,000 rows: one row; few; many; few among many; rows that are looked up in one place; repeats that
/// begin late; a row, and then others.
std::vector<Indices> kinds_of_index(std::size_t count) {
  return {
      indices(count, [](auto, auto&) { return 2999; }),
      indices(count, [](auto, auto& random) { return static_cast<std::int64_t>(random() % 60); }),
      indices(count, [](auto, auto& random) { return static_cast<std::int64_t>(random() % 3000); }),
      indices(count,
              [](auto, auto& random) { return static_cast<std::int64_t>(random() % (random() % 2 ? 3000 : 8)); }),
      indices(count, [](auto i, auto&) { return static_cast<std::int64_t>(i % 3 * 1024 + i / 6 % 2); }),
      indices(count, [](auto i, auto&) { return static_cast<std::int64_t>(i < 300 ? i : i % 50); }),
      indices(count, [](auto i, auto&) { return static_cast<std::int64_t>(i < 100 ? 5 : i % 3000); }),
  };
}

template <class Index>
void expect_rows(const CompressedTensor& tensor, const OwnedTensor& raw, const std::vector<Index>& index,
                 unsigned num_threads) {
  const auto row_bytes = static_cast<std::ptrdiff_t>(tensor.row_bytes());
  std::vector<std::byte> expected;
  for (const Index row : index) {
    const auto begin = raw.data.begin() + row * row_bytes;
    expected.insert(expected.end(), begin, begin + row_bytes);
  }
  std::vector<std::byte> out(expected.size());
  tensor.gather(index, out, num_threads);
  ASSERT_TRUE(out == expected);
}

TEST(RepeatedRows, AreWhatTheyAreInEveryCodecAndPacking) {
  for (const std::uint64_t columns : {10U, 100U}) {
    const OwnedTensor raw = make_tensor(DType::kF32, {3000, columns}, Values::kNormal, 1);
    for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
      for (const Codec codec : {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kDictionary}) {
        CompressOptions options;
        options.packing = packing;
        options.codec = codec;
        const CompressedTensor tensor = compress(raw.view(), options);
        for (const std::size_t count : {1U, 7U, 8U, 256U, 3000U}) {
          for (const Indices& index : kinds_of_index(count)) {
            expect_rows(tensor, raw, index, 1);
            expect_rows(tensor, raw, index, 3);
            expect_rows(tensor, raw, std::vector<std::int32_t>(index.begin(), index.end()), 1);
          }
        }
      }
    }
  }
}

TEST(RepeatedRows, ThatAreStoredOnceAreFound) {
  OwnedTensor raw = make_tensor(DType::kBF16, {3000, 64}, Values::kNormal, 1);
  const std::ptrdiff_t half = static_cast<std::ptrdiff_t>(raw.data.size()) / 2;
  std::copy_n(raw.data.begin(), half, raw.data.begin() + half);
  CompressOptions options;
  options.packing = Packing::kPacked;
  const CompressedTensor tensor = compress(raw.view(), options);
  ASSERT_GT(tensor.ratio(), 2.0);
  for (const Indices& index : kinds_of_index(3000)) expect_rows(tensor, raw, index, 2);
}

TEST(DistinctRows, HaveEachRowOfASmallTableOnce) {
  for (const Indices& index : kinds_of_index(5000)) {
    if (*std::max_element(index.begin(), index.end()) >= 1024) continue;
    const DistinctRows distinct{std::span<const std::int64_t>(index)};
    EXPECT_EQ(distinct.rows().size(), std::set<std::int64_t>(index.begin(), index.end()).size());
  }
}

TEST(DistinctRows, SpreadToTheirPlaces) {
  for (const Indices& index : kinds_of_index(5000)) {
    const DistinctRows distinct{std::span<const std::int64_t>(index)};
    Indices rows(distinct.rows().begin(), distinct.rows().end());
    rows.resize(index.size());
    distinct.spread(reinterpret_cast<std::byte*>(rows.data()), sizeof(std::int64_t));
    EXPECT_TRUE(rows == index);
  }
}

TEST(DistinctRows, AreLookedForOnlyWhereRowsRepeat) {
  Indices index(1000);
  std::iota(index.begin(), index.end(), 0);
  EXPECT_FALSE(has_repeats(std::span<const std::int64_t>(index)));
  for (std::size_t i = 0; i < index.size(); i += 4) index[i] = 500;
  EXPECT_TRUE(has_repeats(std::span<const std::int64_t>(index)));
  EXPECT_FALSE(has_repeats(std::span<const std::int64_t>()));
}

}  // namespace
}  // namespace stillbit
