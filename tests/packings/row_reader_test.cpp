// Rows that are not there are never read.

#include "packings/row_reader.hpp"

#include "api/compressed_tensor.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::Values;

TEST(RowReader, FindsNoRowsThatAreNotThere) {
  for (const Values values : {Values::kNormal, Values::kRandomBits, Values::kConstant, Values::kRepeatedRows}) {
    const testing::OwnedTensor raw = make_tensor(DType::kBF16, {50, 600}, values, 1);
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

}  // namespace
}  // namespace stillbit
