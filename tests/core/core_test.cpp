#include "core/bits.hpp"
#include "core/buffer.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "core/shape.hpp"
#include "cpu/checksum.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace stillbit {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Checked, FindsOverflow) {
  EXPECT_EQ(checked_mul(kMax / 3, 3), kMax / 3 * 3);
  EXPECT_EQ(checked_mul(kMax / 2, 3), std::nullopt);
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(ceil_div(kMax, 2), kMax / 2 + 1);
  EXPECT_EQ(align_up(129, 128), 256U);
}

TEST(Bits, FieldsOfEveryWidthAtEveryOffsetComeBack) {
  for (unsigned width = 0; width <= 56; ++width) {
    for (std::uint64_t offset = 0; offset < 16; ++offset) {
      const std::uint64_t value = 0xA5A5F00DDEADBEEFU & ((std::uint64_t{1} << width) - 1);
      std::vector<std::byte> stream(16);
      store_bits(stream.data(), offset, width, value);
      EXPECT_EQ(load_bits(stream.data(), offset, width), value);
    }
  }
}

TEST(Bits, ExactLoadReadsNothingBehindTheStream) {
  // Found by AddressSanitizer when it does.
  const std::vector<std::byte> stream(3, std::byte{0xFF});
  EXPECT_EQ(load_bits(stream.data(), 20, 4), 0xFU);
}

TEST(DType, NamesAndWidthsAreThoseOfSafetensors) {
  for (unsigned i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("bf16"), DType::kBF16);
  EXPECT_EQ(dtype_from_name("F4"), std::nullopt);
  EXPECT_EQ(num_bytes(DType::kF8E4M3), 1U);
  EXPECT_EQ(num_bytes(DType::kBF16), 2U);
  EXPECT_EQ(num_bytes(DType::kF32), 4U);
  EXPECT_EQ(num_bytes(DType::kC64), 8U);
}

RowGeometry geometry_of(DType dtype, const std::vector<std::uint64_t>& shape, unsigned row_dims) {
  return unwrap(row_geometry(dtype, shape, row_dims));
}

TEST(Shape, RowsAreTheLastDimensions) {
  EXPECT_EQ(geometry_of(DType::kF32, {2, 3, 5}, 1).num_rows, 6U);
  EXPECT_EQ(geometry_of(DType::kF32, {2, 3, 5}, 1).row_bytes, 20U);
  EXPECT_EQ(geometry_of(DType::kF32, {2, 3, 5}, 2).num_rows, 2U);
  EXPECT_EQ(geometry_of(DType::kF32, {2, 3, 5}, 0).row_bytes, 4U);
  EXPECT_EQ(geometry_of(DType::kF64, {}, 0).num_bytes(), 8U);
  EXPECT_EQ(geometry_of(DType::kU8, {4, 0}, 1).num_rows, 4U);
  EXPECT_EQ(geometry_of(DType::kU8, {4, 0}, 1).row_bytes, 0U);
}

TEST(Shape, ProductsThatDoNotFitAreRefused) {
  EXPECT_FALSE(row_geometry(DType::kU8, std::vector<std::uint64_t>{kMax, 2}, 1).ok());
  EXPECT_FALSE(row_geometry(DType::kF64, std::vector<std::uint64_t>{std::uint64_t{1} << 59}, 1).ok());
  // A zero does not hide sizes that would overflow without it.
  EXPECT_FALSE(row_geometry(DType::kU8, std::vector<std::uint64_t>{0, kMax, kMax}, 1).ok());
  EXPECT_FALSE(row_geometry(DType::kU8, std::vector<std::uint64_t>(kMaxRank + 1, 1), 1).ok());
  EXPECT_FALSE(row_geometry(DType::kU8, std::vector<std::uint64_t>{1}, 2).ok());
}

TEST(Buffer, KeepsItsBytesWhenItGrows) {
  Buffer buffer(3);
  for (std::size_t i = 0; i < 3; ++i) buffer.data()[i] = static_cast<std::byte>(i + 1);
  buffer.reserve(10'000'000);
  buffer.resize(9'000'000);
  EXPECT_EQ(buffer.data()[2], std::byte{3});
  EXPECT_EQ(buffer.size(), 9'000'000U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0U);
}

TEST(Checksum, IsXxh3OverPieces) {
  // XXH3-64 of nothing, as the xxHash project publishes it.
  EXPECT_EQ(digest({}), 0x2D06800538D394C2U);
  EXPECT_EQ(to_hex(0x2D06800538D394C2U), "2d06800538d394c2");
  EXPECT_EQ(Checksum().value(), digest({}));
  const std::uint64_t digests[] = {1, 2, 3};
  Checksum checksum;
  for (const std::uint64_t piece : {2, 0, 1}) checksum.add(piece, digests[piece]);
  EXPECT_EQ(checksum.value(), digest(std::as_bytes(std::span(digests))));
  Digest parts;
  const std::vector<std::byte> bytes(1000, std::byte{7});
  parts.update(Bytes(bytes).first(1));
  parts.update(Bytes(bytes).subspan(1));
  EXPECT_EQ(parts.value(), digest(bytes));
}

TEST(Checksum, IsTheSameOnEveryInstructionSet) {
  std::vector<std::byte> bytes(5000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 256);
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (!cpu::supported(isa)) continue;
    for (std::size_t size = 0; size <= bytes.size(); size += size < 300 ? 1 : 117)
      ASSERT_EQ(cpu::digest(Bytes(bytes).first(size), isa), digest(Bytes(bytes).first(size))) << size;
  }
}

TEST(Checksum, OfPartsIsThatOfTheWhole) {
  std::vector<std::byte> bytes(20000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 256);
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (!cpu::supported(isa)) continue;
    for (const std::size_t part : {1, 63, 64, 255, 257, 1024, 2048, 7000, 20000}) {
      cpu::RunningDigest running(isa);
      for (std::size_t i = 0; i < bytes.size(); i += part)
        running.add(Bytes(bytes).subspan(i, std::min(part, bytes.size() - i)));
      EXPECT_EQ(running.value(), digest(bytes)) << part;
    }
    EXPECT_EQ(cpu::RunningDigest(isa).value(), digest({}));
  }
}

}  // namespace
}  // namespace stillbit
