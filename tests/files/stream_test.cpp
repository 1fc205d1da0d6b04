// Tensors that come in chunks: what is written is what a file of the whole holds, whatever the chunks.

#include <stillbit/stillbit.hpp>

#include "files/row_scan.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

using Entries = std::span<const std::byte>;

/// Hands a tensor on in chunks of so many entries, the last one shorter.
void in_chunks(const OwnedTensor& tensor, std::uint64_t num_entries, const std::function<void(Entries)>& take) {
  const std::uint64_t entry_bytes = tensor.shape[0] == 0 ? 1 : tensor.data.size() / tensor.shape[0];
  for (std::uint64_t begin = 0; begin < tensor.data.size(); begin += num_entries * entry_bytes)
    take(Entries(tensor.data).subspan(begin, std::min(num_entries * entry_bytes, tensor.data.size() - begin)));
}

RowScan scan_of(const OwnedTensor& tensor, std::uint64_t num_entries, unsigned row_dims = 1) {
  RowScan scan(tensor.dtype, {tensor.shape.begin() + 1, tensor.shape.end()}, row_dims);
  in_chunks(tensor, num_entries, [&](Entries entries) { scan.add(entries); });
  return scan;
}

/// Both passes, to a file with one tensor. Returns how often the rows were written.
int write_file(const std::filesystem::path& path, const OwnedTensor& tensor, std::uint64_t num_entries,
               const RowScan& scan, const Plan& plan) {
  StreamWriter writer(path, {{"by", "test"}});
  writer.declare("t", scan, plan);
  int num_passes = 0;
  for (bool is_done = false; !is_done; ++num_passes) {
    writer.begin();
    in_chunks(tensor, num_entries, [&](Entries entries) { writer.write(entries); });
    is_done = writer.end();
  }
  writer.commit();
  return num_passes;
}

std::vector<std::byte> contents_of(const std::filesystem::path& path) {
  verify_file(path);
  const NamedTensors loaded = load(path);
  std::vector<std::byte> out(loaded.at(0).second.raw_bytes());
  loaded[0].second.decompress(out);
  return out;
}

CompressOptions options_for(Packing packing, std::optional<Codec> codec = {}) {
  CompressOptions options;
  options.packing = packing;
  options.codec = codec;
  return options;
}

class EveryStream : public ::testing::TestWithParam<Packing> {};

TEST_P(EveryStream, IsTheTensorAgain) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{3000, 40}, {30000, 3}, {3, 40000}, {1, 5}, {0, 5}}) {
      const OwnedTensor raw = make_tensor(DType::kF32, shape, values, 1);
      const RowScan scan = scan_of(raw, 700);
      const int num_passes = write_file(path, raw, 411, scan, scan.plan(options_for(GetParam())));
      EXPECT_LE(num_passes, 2);
      EXPECT_EQ(contents_of(path), raw.data) << name(values);
      const FileInfo info = inspect_file(path);
      EXPECT_EQ(info.tensors.at(0).shape, shape);
      EXPECT_EQ(info.tensors.at(0).packing, GetParam());
      EXPECT_EQ(info.metadata.at("by"), "test");
      EXPECT_LE(info.stored_bytes, raw.data.size() + 512);
    }
  }
  EXPECT_EQ(folder.num_files(), 1U);
}

TEST_P(EveryStream, CodecsTakeUnalikeRows) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  // Many parts, with rows that no plan fits.
  OwnedTensor raw = make_tensor(DType::kBF16, {300000, 64}, Values::kSmallInts, 1);
  const OwnedTensor random = make_tensor(DType::kBF16, {1000, 64}, Values::kRandomBits, 1);
  std::copy(random.data.begin(), random.data.end(), raw.data.begin() + 200000 * 128);
  const RowScan scan = scan_of(raw, 100000);
  for (const Codec codec :
       {Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse, Codec::kDictionary, Codec::kRans, Codec::kRaw}) {
    const Plan plan = scan.plan(options_for(GetParam(), codec));
    EXPECT_EQ(write_file(path, raw, 77777, scan, plan), 1) << name(codec);
    EXPECT_EQ(inspect_file(path).tensors.at(0).codec, plan.codec());
    EXPECT_EQ(contents_of(path), raw.data) << name(codec);
  }
}

INSTANTIATE_TEST_SUITE_P(Packings, EveryStream, ::testing::Values(Packing::kPacked, Packing::kSlotted),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(Stream, IsAsSmallAsTheFileOfTheWhole) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  for (const Values values : {Values::kNormal, Values::kSmallInts, Values::kBagOfWords}) {
    const OwnedTensor raw = make_tensor(DType::kF32, {100000, 64}, values, 1);
    const RowScan scan = scan_of(raw, 1000);
    write_file(path, raw, 1000, scan, scan.plan(options_for(Packing::kPacked)));
    const auto whole = static_cast<double>(compress(raw.view(), options_for(Packing::kPacked)).stored_bytes());
    EXPECT_LT(static_cast<double>(inspect_file(path).stored_bytes), 1.01 * whole) << name(values);
  }
}

TEST(Stream, WhatAPlanMakesLargerIsStoredRaw) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const OwnedTensor zeros = make_tensor(DType::kF32, {4000, 32}, Values::kConstant, 1);
  const OwnedTensor random = make_tensor(DType::kF32, {4000, 32}, Values::kRandomBits, 1);
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    const Plan plan = stillbit::plan(zeros.view(), options_for(packing, Codec::kIbp));
    ASSERT_EQ(plan.codec(), Codec::kIbp);
    EXPECT_EQ(write_file(path, random, 900, scan_of(random, 900), plan), 2);
    EXPECT_EQ(inspect_file(path).tensors.at(0).codec, Codec::kRaw);
    EXPECT_EQ(contents_of(path), random.data);
  }
}

TEST(Stream, OtherDataInTheSecondPassIsRefused) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  const RowScan scan = scan_of(raw, 100);
  const Plan plan = scan.plan(options_for(Packing::kPacked));
  for (const OwnedTensor& other :
       {make_tensor(DType::kF32, {100, 8}, Values::kNormal, 2), make_tensor(DType::kF32, {99, 8}, Values::kNormal, 1),
        make_tensor(DType::kF32, {101, 8}, Values::kNormal, 1)}) {
    try {
      write_file(folder.path() / "t.safetensors", other, 50, scan, plan);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kMismatch);
      EXPECT_NE(std::string(error.what()).find("\"t\""), std::string::npos);
    }
  }
  EXPECT_EQ(folder.num_files(), 0U);
}

TEST(Stream, WhatIsMissingIsSaid) {
  const TemporaryFolder folder;
  const OwnedTensor raw = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  const RowScan scan = scan_of(raw, 100);
  const Plan packed = scan.plan(options_for(Packing::kPacked));
  StreamWriter writer(folder.path() / "t.safetensors", {});
  writer.declare("a", scan, packed);
  EXPECT_THROW(writer.declare("a", scan, packed), Error);
  EXPECT_THROW(writer.declare("b", scan, scan.plan(options_for(Packing::kSlotted))), Error);
  EXPECT_THROW(writer.write(raw.data), Error);
  EXPECT_THROW(writer.commit(), Error);
  writer.begin();
  EXPECT_THROW(writer.begin(), Error);
  EXPECT_THROW(writer.declare("b", scan, packed), Error);
  EXPECT_THROW(RowScan(DType::kF32, {}, 1), Error);
  EXPECT_THROW(RowScan(DType::kF32, {3, 0}, 1), Error);
  EXPECT_THROW(RowScan(DType::kF32, {3}, 1).add(Entries(raw.data).first(7)), Error);
}

TEST(Stream, SeveralTensorsInOneFile) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  std::vector<OwnedTensor> tensors;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const Values values = testing::kAllValues[i % std::size(testing::kAllValues)];
    tensors.push_back(make_tensor(static_cast<DType>(i % kNumDTypes), {50 * i, 2, 9}, values, i));
  }
  StreamWriter writer(path, {});
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const RowScan scan = scan_of(tensors[i], 64);
    writer.declare("t" + std::to_string(i), scan, scan.plan(options_for(Packing::kPacked)));
  }
  for (const OwnedTensor& tensor : tensors) {
    do {
      writer.begin();
      in_chunks(tensor, 100, [&](Entries entries) { writer.write(entries); });
    } while (!writer.end());
  }
  writer.commit();
  verify_file(path);
  const NamedTensors loaded = load(path);
  ASSERT_EQ(loaded.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<std::byte> out(loaded[i].second.raw_bytes());
    loaded[i].second.decompress(out);
    EXPECT_EQ(out, tensors[i].data) << i;
    EXPECT_EQ(loaded[i].second.shape(), tensors[i].shape);
  }
}

TEST(RunningSample, OfRowsThatComeTwiceHasFewTwice) {
  constexpr std::uint64_t kRowBytes = 8;
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 21;
  RunningSample sample(kRowBytes, std::uint64_t{4} << 20);
  std::vector<std::uint64_t> rows(2 * kHalf);
  for (std::uint64_t i = 0; i < rows.size(); ++i) rows[i] = i % kHalf;
  sample.add(std::as_bytes(std::span(rows)));
  std::vector<std::uint64_t> kept(sample.rows().size() / kRowBytes);
  std::memcpy(kept.data(), sample.rows().data(), sample.rows().size());
  const std::size_t num_kept = kept.size();
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  EXPECT_GT(kept.size(), num_kept * 3 / 4);
}

TEST(RunningSample, IsSpreadOverAllRowsAndWholeWhereItFits) {
  constexpr std::uint64_t kRowBytes = 8;
  constexpr std::uint64_t kMax = std::uint64_t{1} << 20;
  for (const std::uint64_t num_rows : {1000, 131072, 131073, 3000000}) {
    RunningSample sample(kRowBytes, kMax);
    std::vector<std::uint64_t> rows(num_rows);
    for (std::uint64_t i = 0; i < num_rows; ++i) rows[i] = i;
    const auto bytes = std::as_bytes(std::span(rows));
    for (std::uint64_t begin = 0; begin < bytes.size(); begin += 12345 * kRowBytes)
      sample.add(bytes.subspan(begin, std::min<std::uint64_t>(12345 * kRowBytes, bytes.size() - begin)));
    std::vector<std::uint64_t> kept(sample.rows().size() / kRowBytes);
    std::memcpy(kept.data(), sample.rows().data(), sample.rows().size());
    if (bytes.size() <= kMax) {
      EXPECT_EQ(kept, rows);
      continue;
    }
    EXPECT_GE(sample.rows().size(), kMax / 2 - (std::uint64_t{1} << 16));
    EXPECT_LE(sample.rows().size(), kMax);
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
    EXPECT_EQ(std::adjacent_find(kept.begin(), kept.end()), kept.end());
    std::uint64_t widest = num_rows - kept.back();
    for (std::size_t i = 1; i < kept.size(); ++i) widest = std::max(widest, kept[i] - kept[i - 1]);
    EXPECT_LT(widest, num_rows / 2) << num_rows;
  }
}

}  // namespace
}  // namespace stillbit
