// Places of chunks that are encoded in any order.

#include "api/chunk_places.hpp"

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

}  // namespace
}  // namespace stillbit
