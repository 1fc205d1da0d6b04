// Rows that are rewritten and added, against a plain array that goes through the same.

#include <stillbit/stillbit.hpp>

#include "format/npy.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

constexpr std::uint64_t kColumns = 64;
constexpr std::uint64_t kRowBytes = 4 * kColumns;

std::vector<std::byte> decompressed(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  return out;
}

CompressedTensor slotted(const OwnedTensor& raw) {
  return compress(raw.view(), {.packing = Packing::kSlotted});
}

TEST(Update, RowsOfEveryKindReplaceRows) {
  for (const Values first : {Values::kNormal, Values::kBagOfWords, Values::kRandomBits}) {
    OwnedTensor raw = make_tensor(DType::kF32, {500, kColumns}, first, 1);
    CompressedTensor tensor = slotted(raw);
    std::mt19937_64 random(7);
    for (int round = 0; round < 60; ++round) {
      const Values values = testing::kAllValues[random() % std::size(testing::kAllValues)];
      const std::uint64_t count = random() % 40;
      const OwnedTensor rows = make_tensor(DType::kF32, {count, kColumns}, values, random());
      std::vector<std::int32_t> index;
      for (std::uint64_t i = 0; i < count; ++i) {
        index.push_back(static_cast<std::int32_t>(random() % 500));
        std::copy_n(rows.data.begin() + static_cast<std::ptrdiff_t>(i * kRowBytes), kRowBytes,
                    raw.data.begin() + index.back() * static_cast<std::ptrdiff_t>(kRowBytes));
      }
      tensor.update(index, rows.data);
      ASSERT_EQ(decompressed(tensor), raw.data) << "round " << round;
    }
    tensor.compact();
    ASSERT_EQ(decompressed(tensor), raw.data);
  }
}

TEST(Update, OverflowDoesNotGrowWithoutBound) {
  OwnedTensor raw = make_tensor(DType::kF32, {2000, kColumns}, Values::kBagOfWords, 1);
  CompressedTensor tensor = slotted(raw);
  ASSERT_NE(tensor.codec(), Codec::kRaw);
  std::vector<std::int64_t> index(2000);
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i);
  for (std::uint64_t round = 0; round < 20; ++round) {
    const Values values = round % 2 == 0 ? Values::kRandomBits : Values::kBagOfWords;
    raw = make_tensor(DType::kF32, {2000, kColumns}, values, round);
    tensor.update(index, raw.data);
    ASSERT_EQ(decompressed(tensor), raw.data);
    EXPECT_LT(tensor.stored_bytes(), 4 * tensor.raw_bytes());
  }
}

TEST(Append, RowsAreAddedAtTheEnd) {
  for (const Values values : testing::kAllValues) {
    OwnedTensor raw = make_tensor(DType::kF32, {100, kColumns}, Values::kNormal, 1);
    CompressedTensor tensor = slotted(raw);
    for (std::uint64_t round = 1; round <= 10; ++round) {
      const OwnedTensor rows = make_tensor(DType::kF32, {round * 7, kColumns}, values, round);
      tensor.append(rows.data);
      raw.data.insert(raw.data.end(), rows.data.begin(), rows.data.end());
    }
    EXPECT_EQ(tensor.shape(), (std::vector<std::uint64_t>{100 + 7 * 55, kColumns}));
    EXPECT_EQ(decompressed(tensor), raw.data);
  }
}

TEST(Append, StepsAlongTheFirstDimension) {
  const OwnedTensor raw = make_tensor(DType::kF32, {5, 3, kColumns}, Values::kNormal, 1);
  CompressedTensor tensor = slotted(raw);
  const OwnedTensor step = make_tensor(DType::kF32, {1, 3, kColumns}, Values::kNormal, 2);
  tensor.append(step.data);
  EXPECT_EQ(tensor.shape(), (std::vector<std::uint64_t>{6, 3, kColumns}));
  EXPECT_THROW(tensor.append(std::span(step.data).first(kRowBytes)), Error);
  EXPECT_EQ(tensor.num_rows(), 18U);
}

TEST(Changed, TensorsAreSavedWithTheirNewChecksum) {
  const testing::TemporaryFolder folder;
  OwnedTensor raw = make_tensor(DType::kF32, {300, kColumns}, Values::kNormal, 1);
  NamedTensors tensors;
  tensors.emplace_back("t", slotted(raw));
  const OwnedTensor rows = make_tensor(DType::kF32, {20, kColumns}, Values::kRandomBits, 2);
  tensors[0].second.append(rows.data);
  raw.data.insert(raw.data.end(), rows.data.begin(), rows.data.end());
  save(folder.path() / "t.safetensors", tensors);
  for (const bool mmap : {true, false}) {
    NamedTensors loaded = load(folder.path() / "t.safetensors", {mmap});
    ASSERT_EQ(loaded.size(), 1U);
    loaded[0].second.verify();
    EXPECT_EQ(decompressed(loaded[0].second), raw.data);
    const std::vector<std::int64_t> index{0};
    if (mmap) {
      EXPECT_THROW(loaded[0].second.update(index, std::span(rows.data).first(kRowBytes)), Error);
    } else {
      loaded[0].second.update(index, std::span(rows.data).first(kRowBytes));
      EXPECT_NE(decompressed(loaded[0].second), raw.data);
    }
  }
}

TEST(Verify, NamesTheFirstElementThatDiffers) {
  const testing::TemporaryFolder folder;
  // Two pieces of the checksum, which two threads compare.
  OwnedTensor raw = make_tensor(DType::kU8, {2, 1 << 20}, Values::kSmallInts, 1);
  NamedTensors tensors;
  tensors.emplace_back("t", compress(raw.view(), {.packing = Packing::kSlotted}));
  save(folder.path() / "t.safetensors", tensors);
  raw.data[(1 << 20) - 1] ^= std::byte{1};
  raw.data[1 << 20] ^= std::byte{1};
  std::ofstream file(folder.path() / "t.npy", std::ios::binary);
  file << format::serialize_npy(raw.dtype, raw.shape);
  file.write(reinterpret_cast<const char*>(raw.data.data()), static_cast<std::streamsize>(raw.data.size()));
  file.close();
  for (int i = 0; i < 20; ++i) {
    try {
      verify_file(folder.path() / "t.safetensors", folder.path() / "t.npy", {.num_threads = 2, .progress = {}});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kMismatch);
      EXPECT_NE(std::string(error.what()).find("element 1048575"), std::string::npos) << error.what();
    }
  }
}

TEST(Refused, AreWrongTargets) {
  const OwnedTensor raw = make_tensor(DType::kF32, {10, kColumns}, Values::kNormal, 1);
  CompressedTensor tensor = slotted(raw);
  const std::vector<std::int64_t> outside{10};
  const std::vector<std::int64_t> inside{1};
  const auto row = std::span(raw.data).first(kRowBytes);
  EXPECT_THROW(tensor.update(outside, row), Error);
  EXPECT_THROW(tensor.update(inside, row.first(1)), Error);
  EXPECT_EQ(decompressed(tensor), raw.data);
  CompressOptions options;
  options.packing = Packing::kPacked;
  CompressedTensor packed = compress(raw.view(), options);
  EXPECT_THROW(packed.update(inside, row), Error);
  EXPECT_THROW(packed.append(row), Error);
  options = {};
  options.packing = Packing::kSlotted;
  options.row_dims = 2;
  CompressedTensor one_row = compress(raw.view(), options);
  EXPECT_THROW(one_row.append(raw.data), Error);
}

}  // namespace
}  // namespace stillbit
