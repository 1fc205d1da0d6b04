// Tables cut into pieces that a copy engine moves one by one.

#include "cuda/pieces.hpp"

#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

namespace stillbit {
namespace {

using namespace testing;

CompressedTensor compressed(Values values, Packing packing, std::vector<std::uint64_t> shape) {
  CompressOptions options;
  options.packing = packing;
  return compress(make_tensor(DType::kBF16, std::move(shape), values, 3).view(), options);
}

TEST(Pieces, CoverAllTilesInOrder) {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    for (const std::uint64_t piece_bytes : {1U, 1000U, 20000U, 100000000U}) {
      const CompressedTensor tensor = compressed(Values::kOutliers, packing, {3000, 50});
      const HostTable host(tensor);
      const auto pieces = cuda::cut_into_pieces(host.table(), piece_bytes);
      ASSERT_TRUE(pieces.ok());
      std::uint64_t next = 0;
      for (const cuda::Piece& piece : pieces.value()) {
        EXPECT_EQ(piece.first_tile, next);
        EXPECT_GT(piece.num_tiles, 0U);
        EXPECT_EQ(piece.begin % cuda::kPieceAlignment, 0U);
        EXPECT_LE(piece.end - piece.begin, cuda::longest(pieces.value()));
        next += piece.num_tiles;
      }
      EXPECT_EQ(next, host.table().num_stored_tiles);
      EXPECT_EQ(pieces.value().back().end, host.table().rows_bytes);
    }
  }
}

TEST(Pieces, ExpandToTheTensor) {
  for (const Values values : {Values::kNormal, Values::kOutliers, Values::kBagOfWords, Values::kRandomBits}) {
    for (const auto& shape : {std::vector<std::uint64_t>{3000, 50}, {40, 5000}, {20000, 3}}) {
      for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
        const CompressedTensor tensor = compressed(values, packing, shape);
        const HostTable host(tensor);
        const auto pieces = cuda::cut_into_pieces(host.table(), 30000);
        ASSERT_TRUE(pieces.ok());
        std::vector<std::byte> expected(tensor.raw_bytes());
        tensor.decompress(expected);
        std::vector<std::byte> out(tensor.raw_bytes());
        for (const cuda::Piece& piece : pieces.value()) {
          const std::span moved(host.table().rows + piece.begin, piece.end - piece.begin);
          EXPECT_EQ(host.expand_piece(piece, moved, out.data()).fault, 0U);
        }
        ASSERT_EQ(out, expected) << name(values) << ' ' << name(packing);
      }
    }
  }
}

TEST(Pieces, ThereAreNoneWhereRowsRepeatOthers) {
  const CompressedTensor tensor = compressed(Values::kRepeatedRows, Packing::kPacked, {3000, 50});
  const HostTable host(tensor);
  ASSERT_TRUE(host.table().has_map);
  const auto pieces = cuda::cut_into_pieces(host.table(), 30000);
  ASSERT_TRUE(pieces.ok());
  EXPECT_TRUE(pieces.value().empty());
}

TEST(Pieces, AMalformedIndexIsAFault) {
  const CompressedTensor tensor = compressed(Values::kOutliers, Packing::kPacked, {3000, 50});
  const HostTable host(tensor);
  ASSERT_GT(host.table().index_bits, 0U);
  std::vector<std::uint64_t> index(host.table().num_stored_tiles * 64);
  std::fill(index.begin(), index.end(), ~std::uint64_t{0});
  warp::Table table = host.table();
  table.index = reinterpret_cast<const std::byte*>(index.data());
  EXPECT_FALSE(cuda::cut_into_pieces(table, 30000).ok());
}

TEST(Pieces, TilesOutsideAPieceAreNotRead) {
  const CompressedTensor tensor = compressed(Values::kNormal, Packing::kSlotted, {3000, 50});
  const HostTable host(tensor);
  auto pieces = cuda::cut_into_pieces(host.table(), 30000);
  ASSERT_TRUE(pieces.ok());
  ASSERT_GT(pieces.value().size(), 2U);
  cuda::Piece piece = pieces.value()[1];
  const std::span moved(host.table().rows + piece.begin, piece.end - piece.begin);
  ++piece.num_tiles;  // one more than was moved
  std::vector<std::byte> out(tensor.raw_bytes());
  const warp::Status status = host.expand_piece(piece, moved, out.data());
  EXPECT_EQ(status.fault, static_cast<std::uint32_t>(warp::Fault::kCorruptRow));
  EXPECT_EQ(status.where, piece.first_tile + piece.num_tiles - 1);
}

}  // namespace
}  // namespace stillbit
