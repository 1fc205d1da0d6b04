// Rows that are not there are never read.

#include "packings/row_reader.hpp"

#include "api/compressed_tensor.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::Values;

TEST(RowReader, FindsNoRowsThatAreNotThere) {
  for (const Values values : {Values::kNormal, Values::kRandomBits, Values::kConstant, Values::kRepeatedRows}) {
    const testing::OwnedTensor raw = make_tensor(DType::kBF16, {50, 1'200}, values, 1);
    for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
      CompressOptions options;
      options.packing = packing;
      const CompressedTensor tensor = compress(raw.view(), options);
      const packing::RowReader reader = tensor.impl().reader();
      packing::RowReader::Scratch scratch;
      StoredRow found;
      for (std::uint64_t row = 0; row < 50; ++row)
        EXPECT_NE(reader.locate(reader.stored(row), scratch, found), packing::RowReader::Place::kCorrupt);
      for (const std::uint64_t row :
           {std::uint64_t{50}, std::uint64_t{1} << 40, std::numeric_limits<std::uint64_t>::max()})
        EXPECT_EQ(reader.locate(reader.stored(row), scratch, found), packing::RowReader::Place::kCorrupt);
    }
  }
}

TEST(RowReader, FindsRowsThatWereRequestedWhereTheyAre) {
  // One row to several blocks of the index, the last of them whole or not, and deltas of few bits to many.
  for (const std::uint64_t num_rows : {1, 2, 63, 64, 65, 128, 200}) {
    for (const std::uint64_t columns : {2'048, 100'000}) {
      for (const Values values : {Values::kBagOfWords, Values::kOutliers}) {
        const testing::OwnedTensor raw = make_tensor(DType::kU8, {num_rows, columns}, values, 1);
        CompressOptions options;
        options.packing = Packing::kPacked;
        const CompressedTensor tensor = compress(raw.view(), options);
        const packing::RowReader reader = tensor.impl().reader();
        if (!reader.has_index()) continue;
        const std::uint64_t num_tiles = tensor.impl().header.stored_tiles().num_rows;
        for (std::uint64_t row = 0; row < num_tiles; ++row) {
          packing::RowReader::Scratch scratch;
          packing::RowReader::Scratch other_scratch;
          StoredRow found;
          StoredRow expected;
          ASSERT_EQ(reader.locate(reader.request(row), scratch, found), packing::RowReader::Place::kFound);
          ASSERT_EQ(reader.locate(row, other_scratch, expected), packing::RowReader::Place::kFound);
          ASSERT_EQ(found.is_raw, expected.is_raw);
          ASSERT_TRUE(std::ranges::equal(Bytes(found.data, found.num_bytes), Bytes(expected.data, expected.num_bytes)));
        }
        packing::RowReader::Scratch scratch;
        StoredRow found;
        for (const std::uint64_t row : {num_tiles, std::numeric_limits<std::uint64_t>::max()})
          EXPECT_EQ(reader.locate(reader.request(row), scratch, found), packing::RowReader::Place::kCorrupt);
      }
    }
  }
}

}  // namespace
}  // namespace stillbit
