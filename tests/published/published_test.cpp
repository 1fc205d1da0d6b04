#include <stillbit/published.hpp>

#include "published/kernels.hpp"
#include "published/layout.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/rows.hpp"

#include <stillbit/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

namespace stillbit::published {
namespace {

using testing::isas;
using testing::make_tensor;
using testing::Row;
using testing::row_of;
using testing::Values;

std::uint64_t word_at(const std::byte* row, std::uint64_t i, unsigned word_bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, row + i * word_bytes, word_bytes);
  return word;
}

/// A row as spec.md has it, made bit by bit; as it is, where it does not shrink.
Row encoded_plainly(const Row& row, const Row& mask, const Row& value, unsigned word_bytes) {
  const std::uint64_t num_words = row.size() / word_bytes;
  std::vector<bool> header;
  std::vector<bool> stream;
  for (std::uint64_t i = 0; i < num_words; ++i) {
    const std::uint64_t word = word_at(row.data(), i, word_bytes);
    const std::uint64_t m = word_at(mask.data(), i, word_bytes);
    const bool agrees = (word & m) == word_at(value.data(), i, word_bytes);
    header.push_back(agrees);
    for (unsigned bit = 8 * word_bytes; bit-- > 0;) {
      if (!agrees || (m >> bit & 1) == 0) stream.push_back((word >> bit & 1) != 0);
    }
  }
  const unsigned word_bits = 8 * word_bytes;
  header.resize((header.size() + word_bits - 1) / word_bits * word_bits);
  stream.resize((stream.size() + word_bits - 1) / word_bits * word_bits);
  Row stored((header.size() + stream.size()) / 8);
  if (stored.size() >= row.size()) return row;
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i]) stored[i / 8] |= std::byte{1} << static_cast<unsigned>(i % 8);
  }
  for (std::size_t i = 0; i < stream.size(); ++i) {
    const std::size_t low_end = (header.size() + i) / word_bits * word_bits + word_bits - 1 - i % word_bits;
    if (stream[i]) stored[low_end / 8] |= std::byte{1} << static_cast<unsigned>(low_end % 8);
  }
  return stored;
}

/// A table and masks that some words of it agree with, others not.
struct Example {
  std::vector<std::byte> bytes, mask, value;
  Table table;

  [[nodiscard]] Masks masks() const { return {mask, value, {}}; }
  [[nodiscard]] Row row(std::uint64_t i) const {
    const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(i * mask.size());
    return {at, at + static_cast<std::ptrdiff_t>(mask.size())};
  }
};

Example make_example(std::uint64_t num_rows, std::uint64_t row_words, unsigned word_bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::uint64_t row_bytes = row_words * word_bytes;
  Example example;
  example.bytes = make_tensor(DType::kU8, {num_rows, row_bytes}, Values::kRandomBits, seed).data;
  example.mask = make_tensor(DType::kU8, {row_bytes}, Values::kRandomBits, seed + 1).data;
  example.value = make_tensor(DType::kU8, {row_bytes}, Values::kRandomBits, seed + 2).data;
  for (std::uint64_t i = 0; i < row_words; ++i) {
    const auto fill = [&](std::byte byte) {
      std::fill_n(example.mask.begin() + static_cast<std::ptrdiff_t>(i * word_bytes), word_bytes, byte);
    };
    if (random() % 8 == 0) fill(std::byte{0xFF});
    if (random() % 8 == 0) fill(std::byte{0});
  }
  for (std::uint64_t i = 0; i < row_bytes; ++i) example.value[i] &= example.mask[i];
  for (std::uint64_t word = 0; word < num_rows * row_words; ++word) {
    if (random() % 8 == 0) continue;
    for (std::uint64_t byte = word * word_bytes; byte < (word + 1) * word_bytes; ++byte) {
      const std::uint64_t column = byte % row_bytes;
      example.bytes[byte] = (example.bytes[byte] & ~example.mask[column]) | example.value[column];
    }
  }
  example.table = {example.bytes, num_rows, row_words, word_bytes};
  return example;
}

void expect_error(ErrorCode code, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
  }
}

struct Packed {
  std::vector<std::byte> bytes;
  std::vector<std::uint32_t> bitmask;
  Table table;
};

Packed compressed_in_place(const Table& table, const Masks& masks, const Index& index = std::nullopt) {
  Packed packed{{table.bytes.begin(), table.bytes.end()}, std::vector<std::uint32_t>(ceil_div(table.num_rows, 32)), {}};
  compress_in_place({packed.bytes, table.num_rows, table.row_words, table.word_bytes}, masks, index, packed.bitmask, 3);
  packed.table = {packed.bytes, table.num_rows, table.row_words, table.word_bytes};
  return packed;
}

TEST(PublishedRow, IsWhatTheSpecificationShows) {
  const Row mask = row_of({0xFFF0, 0xFFF0, 0xFFF0, 0xFFF0});
  const Row value = row_of({0x3C00, 0x3C00, 0x3C00, 0x3C00});
  const Row row = row_of({0x3C01, 0x4000, 0x3C0F, 0x3C02});
  const auto packed = compressed_in_place({row, 1, 4, 2}, {mask, value, {}});
  EXPECT_EQ(packed.bitmask, std::vector<std::uint32_t>{1});
  EXPECT_EQ(packed.bytes, row_of({0x000D, 0x1400, 0x0F20, 0}));
}

class PublishedWidths : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(All, PublishedWidths, ::testing::Values(1, 2, 4, 8));

TEST_P(PublishedWidths, RowsAreThoseOfAPlainEncoder) {
  const unsigned word_bytes = GetParam();
  for (const std::uint64_t row_words : {1, 2, 3, 7, 8, 9, 31, 33, 63, 64, 65, 127, 130, 1000}) {
    const Example example = make_example(5, row_words, word_bytes, row_words);
    const Layout layout{row_words * word_bytes, word_bytes};
    for (std::uint64_t i = 0; i < 5; ++i) {
      const Row row = example.row(i);
      const Row wanted = encoded_plainly(row, example.mask, example.value, word_bytes);
      for (const cpu::Isa isa : isas()) {
        const Kernels& kernel = kernels(word_bytes, isa);
        const auto* mask = example.mask.data();
        const auto* value = example.value.data();
        ASSERT_EQ(layout.stored_bytes(kernel.saved_bits(row.data(), mask, value, row.size())), wanted.size());
        Row stored(layout.scratch_bytes());
        stored.resize(std::min(kernel.encode(row.data(), mask, value, row.size(), stored.data()), row.size()));
        ASSERT_EQ(stored.size(), wanted.size());
        if (wanted.size() == row.size()) continue;
        ASSERT_EQ(stored, wanted) << row_words << " words, " << cpu::name(isa);
        Row readable = wanted;
        readable.resize(wanted.size() + kReadAheadBytes, std::byte{0xFF});
        Row found(row.size());
        ASSERT_TRUE(kernel.decode(readable.data(), wanted.size(), mask, value, row.size(), found.data()));
        ASSERT_EQ(found, row);
        ASSERT_FALSE(kernel.decode(readable.data(), wanted.size() - word_bytes, mask, value, row.size(), found.data()));
      }
    }
  }
}

TEST_P(PublishedWidths, TablesComeBack) {
  const unsigned word_bytes = GetParam();
  for (const std::uint64_t num_rows : {0, 1, 31, 32, 33, 1000}) {
    const Example example = make_example(num_rows, 75, word_bytes, num_rows);
    const std::uint64_t row_bytes = std::uint64_t{75} * word_bytes;
    std::vector<std::int64_t> ends(num_rows);
    measure(example.table, example.masks(), {}, ends, 3);
    std::partial_sum(ends.begin(), ends.end(), ends.begin());

    const Packed packed = compressed_in_place(example.table, example.masks());
    std::vector<std::byte> out(num_rows * row_bytes);
    decompress_in_place(packed.table, example.masks(), packed.bitmask, {}, out, 3);
    EXPECT_EQ(out, example.bytes);

    std::vector<std::byte> condensed(num_rows == 0 ? 0 : static_cast<std::size_t>(ends.back()));
    compress_condensed(example.table, example.masks(), {}, ends, condensed, 3);
    std::fill(out.begin(), out.end(), std::byte{0});
    decompress_condensed(condensed, ends, example.table, example.masks(), {}, out, 3);
    EXPECT_EQ(out, example.bytes);
    for (std::uint64_t i = 0; i < num_rows; ++i) {
      const auto begin = static_cast<std::size_t>(i == 0 ? 0 : ends[i - 1]);
      const auto size = static_cast<std::size_t>(ends[i]) - begin;
      EXPECT_EQ(packed.bitmask[i / 32] >> i % 32 & 1, size < row_bytes ? 1U : 0U);
      // What is in place is what is condensed, and zeros.
      Row place(condensed.begin() + static_cast<std::ptrdiff_t>(begin),
                condensed.begin() + static_cast<std::ptrdiff_t>(begin + size));
      place.resize(row_bytes);
      EXPECT_TRUE(
          std::equal(place.begin(), place.end(), packed.bytes.begin() + static_cast<std::ptrdiff_t>(i * row_bytes)));
    }
  }
}

TEST(PublishedTable, AnIndexPicksRows) {
  const Example example = make_example(100, 40, 4, 1);
  const std::vector<std::int64_t> index{99, 3, 3, 64, 0, 3};
  const Packed packed = compressed_in_place(example.table, example.masks(), index);
  EXPECT_EQ(packed.bitmask[0], 0b1001U);
  EXPECT_EQ(packed.bitmask[1], 0U);
  EXPECT_EQ(packed.bitmask[2], 1U);
  EXPECT_EQ(packed.bitmask[3], 0b1000U);
  std::vector<std::byte> all(example.bytes.size());
  decompress_in_place(packed.table, example.masks(), packed.bitmask, {}, all);
  EXPECT_EQ(all, example.bytes);
  std::vector<std::byte> picked(index.size() * 160);
  decompress_in_place(packed.table, example.masks(), packed.bitmask, index, picked);
  for (std::size_t i = 0; i < index.size(); ++i) {
    EXPECT_EQ(std::memcmp(picked.data() + i * 160, example.bytes.data() + index[i] * 160, 160), 0);
  }
}

TEST(PublishedTable, DamagedRowsAreMalformed) {
  const Example example = make_example(8, 20, 2, 3);
  Packed packed = compressed_in_place(example.table, example.masks());
  ASSERT_EQ(packed.bitmask[0] & 1, 1U);
  std::vector<std::byte> out(example.bytes.size());
  // No word agrees: their bits need more than the row's place, and behind the last row there is nothing to read.
  for (const std::size_t row : {0U, 7U}) {
    Packed damaged = packed;
    damaged.table.bytes = damaged.bytes;
    damaged.bitmask[0] = 0xFF;
    std::fill_n(damaged.bytes.begin() + static_cast<std::ptrdiff_t>(row * 40), 4, std::byte{0});
    const std::vector<std::int64_t> index{static_cast<std::int64_t>(row)};
    expect_error(ErrorCode::kCorrupt, [&] {
      decompress_in_place(damaged.table, example.masks(), damaged.bitmask, index, std::span(out).first(40));
    });
  }
  const std::vector<std::byte> condensed(100);
  for (const std::vector<std::int64_t>& ends :
       {std::vector<std::int64_t>{-1, 10}, {20, 10}, {10, 101}, {0, 41}, {0, 1}, {40, 41}}) {
    std::vector<std::byte> two(80);
    expect_error(ErrorCode::kCorrupt,
                 [&] { decompress_condensed(condensed, ends, {{}, 2, 20, 2}, example.masks(), {}, two); });
  }
}

TEST(PublishedTable, WhatDoesNotFitIsRefused) {
  const Example example = make_example(10, 20, 2, 3);
  std::vector<std::int64_t> sizes(10);
  const auto refuse = [&](ErrorCode code, Table table, Masks masks, Index index = {}) {
    expect_error(code, [&] { measure(table, masks, index, sizes); });
  };
  const Masks masks = example.masks();
  const Table& table = example.table;
  refuse(ErrorCode::kInvalidArgument, {table.bytes, 10, 20, 3}, masks);
  refuse(ErrorCode::kInvalidArgument, {table.bytes, 11, 20, 2}, masks);
  refuse(ErrorCode::kInvalidArgument, {table.bytes, 10, ~std::uint64_t{0}, 2}, masks);
  refuse(ErrorCode::kInvalidArgument, {table.bytes, std::uint64_t{1} << 60, 20, 2}, masks);
  refuse(ErrorCode::kInvalidArgument, table, {masks.mask.first(38), masks.value, {}});
  refuse(ErrorCode::kInvalidArgument, table, {masks.mask.first(38), masks.value.first(38), {}});
  const std::vector<std::int32_t> clusters(10, 1);
  refuse(ErrorCode::kOutOfRange, table, {masks.mask, masks.value, clusters});
  refuse(ErrorCode::kInvalidArgument, table, {masks.mask, masks.value, std::span(clusters).first(9)});
  for (const std::int64_t row : {-1, 10}) {
    const std::vector<std::int64_t> index(10, row);
    refuse(ErrorCode::kOutOfRange, table, masks, index);
  }
  expect_error(ErrorCode::kInvalidArgument, [&] { measure(table, masks, {}, std::span(sizes).first(9)); });
  std::vector<std::byte> condensed(400);
  const std::vector<std::int64_t> raw_ends{40, 80, 120, 160, 200, 240, 280, 320, 360, 400};
  std::vector<std::int64_t> ends = raw_ends;
  ends[0] = 39;
  expect_error(ErrorCode::kInvalidArgument, [&] { compress_condensed(table, masks, {}, ends, condensed); });
  expect_error(ErrorCode::kInvalidArgument,
               [&] { compress_condensed(table, masks, {}, raw_ends, std::span(condensed).first(399)); });
}

/// Masks by the definition.
TEST(PublishedMasks, AreThoseOfTheThreshold) {
  const auto tensor = make_tensor(DType::kU16, {40, 50}, Values::kSmallInts, 1);
  for (const double threshold : {0.0, 0.7, 0.85, 1.0}) {
    std::vector<std::byte> mask(100);
    std::vector<std::byte> value(100);
    find_masks({tensor.data, 40, 50, 2}, threshold, mask, value);
    for (unsigned bit = 0; bit < 800; ++bit) {
      unsigned ones = 0;
      for (unsigned row = 0; row < 40; ++row) {
        ones += static_cast<unsigned>(tensor.data[row * 100 + bit / 8]) >> bit % 8 & 1;
      }
      const unsigned most = std::max(ones, 40 - ones);
      ASSERT_EQ(static_cast<unsigned>(mask[bit / 8]) >> bit % 8 & 1, most > threshold * 40 || most == 40 ? 1U : 0U);
      ASSERT_EQ(static_cast<unsigned>(value[bit / 8]) >> bit % 8 & 1,
                (most > threshold * 40 || most == 40) && ones > 20 ? 1U : 0U);
    }
  }
}

TEST(PublishedMasks, TheCheapestThresholdWins) {
  const auto tensor = make_tensor(DType::kF32, {500, 30}, Values::kNormal, 1);
  const Table table{tensor.data, 500, 30, 4};
  std::vector<std::byte> mask(120);
  std::vector<std::byte> value(120);
  const auto priced = find_masks(table, {}, mask, value, 3);
  ASSERT_EQ(priced.size(), 7U);
  EXPECT_EQ(priced.front().threshold, 0.7);
  EXPECT_EQ(priced.back().threshold, 1.0);
  std::uint64_t lowest = ~std::uint64_t{0};
  for (const PricedThreshold& one : priced) {
    lowest = std::min(lowest, one.stored_bytes);
    std::vector<std::byte> own_mask(120);
    std::vector<std::byte> own_value(120);
    EXPECT_EQ(find_masks(table, one.threshold, own_mask, own_value)[0].stored_bytes, one.stored_bytes);
  }
  std::vector<std::int64_t> sizes(500);
  measure(table, {mask, value, {}}, {}, sizes);
  EXPECT_EQ(static_cast<std::uint64_t>(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0})), lowest);
  EXPECT_LT(lowest, tensor.data.size());
}

TEST(PublishedMasks, WhatDoesNotShrinkHasNone) {
  const auto tensor = make_tensor(DType::kU32, {1000, 9}, Values::kRandomBits, 1);
  std::vector<std::byte> mask(36, std::byte{1});
  std::vector<std::byte> value(36, std::byte{1});
  find_masks({tensor.data, 1000, 9, 4}, {}, mask, value);
  EXPECT_EQ(mask, std::vector<std::byte>(36));
  EXPECT_EQ(value, mask);
}

TEST(PublishedMasks, RowsLongerThanABlockAreCountedInBlocks) {
  constexpr std::uint64_t kRowBytes = 50000;
  std::vector<std::byte> bytes = make_tensor(DType::kU8, {3, kRowBytes}, Values::kRandomBits, 1).data;
  for (std::uint64_t i = 0; i < bytes.size(); ++i) bytes[i] = i % kRowBytes % 7 == 0 ? bytes[i] : std::byte{0xA5};
  std::vector<std::byte> mask(kRowBytes);
  std::vector<std::byte> value(kRowBytes);
  find_masks({bytes, 3, kRowBytes, 1}, 1.0, mask, value);
  for (std::uint64_t i = 0; i < kRowBytes; ++i) {
    const std::byte a = bytes[i], b = bytes[kRowBytes + i], c = bytes[2 * kRowBytes + i];
    ASSERT_EQ(mask[i], ~((a ^ b) | (a ^ c)));
    ASSERT_EQ(value[i], a & mask[i]);
  }
}

TEST(PublishedMasks, ThresholdsAreShares) {
  std::vector<std::byte> row(4), mask(4), value(4);
  for (const double threshold : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorCode::kInvalidArgument, [&] { find_masks({row, 1, 1, 4}, threshold, mask, value); });
  }
}

/// Rows of one of `num_kinds` kinds, in no order; those of a kind have most bits in common.
std::vector<std::byte> rows_of_kinds(std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t num_kinds) {
  auto rows = make_tensor(DType::kU8, {num_rows, row_bytes}, Values::kRandomBits, 1).data;
  const auto kinds = make_tensor(DType::kU8, {num_kinds, row_bytes}, Values::kRandomBits, 2).data;
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    const std::uint64_t kind = row * 7 / 3 % num_kinds;
    for (std::uint64_t i = 0; i < row_bytes; ++i) {
      if (i % 4 != 0) rows[row * row_bytes + i] = kinds[kind * row_bytes + i];
    }
  }
  return rows;
}

TEST(PublishedClusters, FindKindsOfRowsAndComeBack) {
  constexpr std::uint64_t kRows = 600, kWords = 32, kClusters = 9;
  const auto bytes = rows_of_kinds(kRows, kWords * 4, 3);
  const Table table{bytes, kRows, kWords, 4};
  std::vector<std::byte> mask(kClusters * kWords * 4), value(mask.size());
  std::vector<std::int32_t> clusters(kRows);
  const auto totals = find_clusters(table, kClusters, {}, 1, mask, value, clusters, 3);
  const Masks masks{mask, value, clusters};
  std::vector<std::int64_t> sizes(kRows);
  measure(table, masks, {}, sizes);
  const auto total = static_cast<std::uint64_t>(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
  EXPECT_EQ(total, *std::min_element(totals.begin(), totals.end()));
  // A row of a kind takes 4 bytes of participation bits and a quarter of its own.
  EXPECT_EQ(total, kRows * (4 + kWords));

  const Packed packed = compressed_in_place(table, masks);
  const std::vector<std::int64_t> index{599, 0, 7};
  std::vector<std::byte> out(index.size() * kWords * 4);
  decompress_in_place(packed.table, masks, packed.bitmask, index, out);
  for (std::size_t i = 0; i < index.size(); ++i) {
    EXPECT_EQ(std::memcmp(out.data() + i * kWords * 4, bytes.data() + index[i] * 128, kWords * 4), 0);
  }

  std::vector<std::byte> again_mask(mask.size()), again_value(mask.size());
  std::vector<std::int32_t> again(kRows);
  EXPECT_EQ(find_clusters(table, kClusters, {}, 1, again_mask, again_value, again, 1), totals);
  EXPECT_EQ(again, clusters);
  EXPECT_EQ(again_mask, mask);
  EXPECT_EQ(again_value, value);
}

TEST(PublishedClusters, MoreThanThereAreRows) {
  const auto bytes = rows_of_kinds(3, 64, 3);
  const Table table{bytes, 3, 64, 1};
  std::vector<std::byte> mask(5 * 64, std::byte{1}), value(mask);
  std::vector<std::int32_t> clusters(3);
  find_clusters(table, 5, {}, 1, mask, value, clusters);
  EXPECT_EQ(Row(mask.begin() + 3 * 64, mask.end()), Row(2 * 64));
  EXPECT_LT(*std::max_element(clusters.begin(), clusters.end()), 3);
  expect_error(ErrorCode::kInvalidArgument, [&] { find_clusters(table, 0, {}, 1, {}, {}, clusters); });
  find_clusters({{}, 0, 64, 1}, 5, {}, 1, mask, value, {});
  EXPECT_EQ(mask, Row(5 * 64));
}

}  // namespace
}  // namespace stillbit::published
