// Places of chunks that are encoded in any order, and the digests that are taken on the way.

#include "api/chunk_places.hpp"
#include "api/piece_digest.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace stillbit {
namespace {

TEST(ChunkPlaces, AreKnownWhenAllBeforeAreEncoded) {
  std::vector<ChunkPlace> places(5);
  ChunkPlaces chunks(places);
  EXPECT_TRUE(chunks.is_known(0));
  chunks.add(2, {30, 3});
  EXPECT_FALSE(chunks.is_known(1));
  chunks.add(0, {10, 1});
  EXPECT_TRUE(chunks.is_known(1));
  EXPECT_FALSE(chunks.is_known(2));
  chunks.add(1, {20, 2});
  EXPECT_TRUE(chunks.is_known(3));
  EXPECT_FALSE(chunks.is_known(4));
  chunks.add(3, {40, 4});
  EXPECT_TRUE(chunks.is_known(4));
  for (std::uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(chunks[i].rows_offset, 10 * i * (i + 1) / 2);
    EXPECT_EQ(chunks[i].overflow_offset, i * (i + 1) / 2);
  }
}

TEST(ChunkPlaces, OfNoChunksAreKnown) {
  std::vector<ChunkPlace> places(1);
  EXPECT_TRUE(ChunkPlaces(places).is_known(0));
}

TEST(ChunkPlaces, AreWaitedForUntilTheyComeOrWillNot) {
  std::vector<ChunkPlace> places(3);
  ChunkPlaces chunks(places);
  std::thread encodes([&] { chunks.add(0, {10, 0}); });
  EXPECT_TRUE(chunks.wait(1));
  encodes.join();
  std::thread fails([&] { chunks.fail(); });
  EXPECT_FALSE(chunks.wait(2));
  fails.join();
  EXPECT_TRUE(chunks.wait(1));
}

TEST(PieceDigest, IsThatOfThePieceHoweverFarOneCame) {
  std::vector<std::byte> data(2 * kChecksumPieceBytes + 5000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 31 + i / 256);
  for (std::uint64_t piece = 0; piece < 4; ++piece) {
    const std::uint64_t begin = std::min<std::uint64_t>(data.size(), piece * kChecksumPieceBytes);
    const std::uint64_t count = std::min<std::uint64_t>(data.size() - begin, kChecksumPieceBytes);
    const std::uint64_t expected = digest(Bytes(data).subspan(begin, count));
    EXPECT_EQ(PieceDigest(data, piece).value(), expected);
    for (const std::uint64_t step : {999U, 4096U, 700000U, 3000000U}) {
      PieceDigest on_the_way(data, piece);
      for (std::uint64_t at = begin / 2; at < begin + 2 * kChecksumPieceBytes; at += step) on_the_way.reach(at);
      EXPECT_EQ(on_the_way.value(), expected) << step;
    }
  }
}

}  // namespace
}  // namespace stillbit
