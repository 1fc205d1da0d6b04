// What an analysis says of files: sizes that add up, the same before and after compressing, and counts that are right.

#include "analysis/exponents.hpp"
#include "analysis/word_shape.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <stillbit/stillbit.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

std::uint64_t bits_of(const TensorAnalysis& analysis, BitUse use) {
  return analysis.bits[static_cast<std::size_t>(use)];
}

void expect_to_add_up(const TensorAnalysis& analysis) {
  EXPECT_EQ(std::accumulate(analysis.bits.begin(), analysis.bits.end(), std::uint64_t{0}),
            8 * analysis.info.stored_bytes)
      << analysis.info.name;
}

/// A file has them in the order of names.
std::map<Codec, std::uint64_t> prices_of(const TensorAnalysis& analysis) {
  std::map<Codec, std::uint64_t> prices;
  for (const CodecPrice& price : analysis.info.prices) prices[price.codec] = price.stored_bytes;
  return prices;
}

struct Files {
  TemporaryFolder folder;
  std::filesystem::path compressed = folder.path() / "c.safetensors";
  std::filesystem::path raw = folder.path() / "raw.safetensors";

  /// The tensors as an ordinary file, by way of a compressed one, and compressed as `options` say.
  void write(const std::vector<std::pair<std::string, OwnedTensor>>& tensors, const CompressOptions& options) const {
    NamedTensors stored;
    for (const auto& [name, tensor] : tensors)
      stored.emplace_back(name, compress(tensor.view(), {.codec = Codec::kRaw, .row_dims = 0}));
    save(folder.path() / "plain.safetensors", stored);
    decompress_file(folder.path() / "plain.safetensors", raw);
    compress_file(raw, compressed, {.tensor = options, .as = {}});
  }
};

TEST(Analysis, IsTheSameBeforeAndAfterCompressing) {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    for (const Codec codec :
         {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse, Codec::kDictionary, Codec::kRans}) {
      std::vector<std::pair<std::string, OwnedTensor>> tensors;
      for (const Values values :
           {Values::kNormal, Values::kBagOfWords, Values::kOutliers, Values::kRandomBits, Values::kRepeatedRows}) {
        for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kI64}) {
          tensors.emplace_back(testing::name(values) + std::string(name(dtype)),
                               make_tensor(dtype, {200, 30}, values, 7));
          tensors.emplace_back(testing::name(values) + "long" + std::string(name(dtype)),
                               make_tensor(dtype, {3, 5001}, values, 8));
        }
      }
      const Files files;
      CompressOptions options{.codec = codec, .packing = packing};
      files.write(tensors, options);
      const FileAnalysis before = analyze_file(files.raw, {.tensor = options});
      const FileAnalysis after = analyze_file(files.compressed);
      EXPECT_EQ(after.stored_bytes, inspect_file(files.compressed).stored_bytes);
      ASSERT_EQ(before.tensors.size(), after.tensors.size());
      for (std::size_t i = 0; i < before.tensors.size(); ++i) {
        SCOPED_TRACE(std::string(name(codec)) + " " + after.tensors[i].info.name);
        expect_to_add_up(before.tensors[i]);
        expect_to_add_up(after.tensors[i]);
        EXPECT_TRUE(before.tensors[i].is_estimate);
        EXPECT_FALSE(after.tensors[i].is_estimate);
        EXPECT_EQ(before.tensors[i].info.codec, after.tensors[i].info.codec);
        EXPECT_EQ(before.tensors[i].info.stored_bytes, after.tensors[i].info.stored_bytes);
        EXPECT_EQ(prices_of(before.tensors[i]), prices_of(after.tensors[i]));
        EXPECT_EQ(before.tensors[i].bits, after.tensors[i].bits);
        EXPECT_EQ(before.tensors[i].invariance.shares, after.tensors[i].invariance.shares);
        EXPECT_EQ(before.tensors[i].exponents.entropy_bits, after.tensors[i].exponents.entropy_bits);
        EXPECT_EQ(after.tensors[i].sampled_bytes, after.tensors[i].info.raw_bytes);
      }
    }
  }
}

TEST(Analysis, OfWeightsHasTheirMantissasAndCodes) {
  const Files files;
  files.write({{"w", make_tensor(DType::kBF16, {512, 256}, Values::kNormal, 1)}},
              {.codec = Codec::kEscape, .packing = Packing::kPacked});
  const TensorAnalysis analysis = analyze_file(files.compressed).tensors[0];
  constexpr std::uint64_t kNumbers = 512 * 256;
  EXPECT_EQ(bits_of(analysis, BitUse::kValues), 8 * kNumbers);
  EXPECT_GT(bits_of(analysis, BitUse::kCodes), kNumbers);
  EXPECT_GT(bits_of(analysis, BitUse::kExceptions), 0U);
  EXPECT_EQ(bits_of(analysis, BitUse::kMarks), 0U);
  // What is stored for numbers is what rows have in codes, values and exceptions.
  double stored = 0;
  for (const ExponentUse& use : analysis.exponents.uses) stored += use.stored_bits * static_cast<double>(use.count);
  EXPECT_NEAR(stored,
              static_cast<double>(bits_of(analysis, BitUse::kValues) + bits_of(analysis, BitUse::kCodes) +
                                  bits_of(analysis, BitUse::kExceptions)),
              1.0);
  // Nothing that codes exponents one by one gets below the bound.
  EXPECT_GT(8.0 * static_cast<double>(analysis.info.stored_bytes),
            (analysis.exponents.entropy_bits + analysis.exponents.rest_bits) * kNumbers);
}

TEST(Analysis, OfLargeTensorsIsOfASampleAndStillAddsUp) {
  const Files files;
  files.write({{"w", make_tensor(DType::kF32, {4096, 1024}, Values::kNormal, 1)}}, {.packing = Packing::kPacked});
  for (const auto& path : {files.raw, files.compressed}) {
    const TensorAnalysis analysis = analyze_file(path).tensors[0];
    EXPECT_LT(analysis.sampled_bytes, analysis.info.raw_bytes / 3);
    EXPECT_GT(analysis.sampled_bytes, analysis.info.raw_bytes / 5);
    expect_to_add_up(analysis);
  }
  const double before = static_cast<double>(analyze_file(files.raw).stored_bytes);
  EXPECT_NEAR(before, static_cast<double>(analyze_file(files.compressed).stored_bytes), 0.01 * before);
}

TEST(Analysis, CountsEqualTensorsOnce) {
  const Files files;
  const OwnedTensor weights = make_tensor(DType::kBF16, {300, 64}, Values::kNormal, 1);
  OwnedTensor other = weights;
  other.data[other.data.size() / 3] ^= std::byte{1};  // neither at the start nor in the middle
  files.write({{"a", weights}, {"b", other}, {"c", weights}}, {.packing = Packing::kPacked});
  for (const auto& path : {files.raw, files.compressed}) {
    const FileAnalysis analysis = analyze_file(path);
    EXPECT_EQ(analysis.tensors[1].same_as, std::nullopt);
    EXPECT_EQ(analysis.tensors[2].same_as, std::optional<std::size_t>(0));
    EXPECT_EQ(analysis.stored_bytes, analysis.tensors[0].info.stored_bytes + analysis.tensors[1].info.stored_bytes);
    EXPECT_EQ(analysis.raw_bytes, 3 * weights.data.size());
  }
}

TEST(Analysis, SeesWhichBitsStandStill) {
  // Column 0 counts up, column 1 is 5 but for one row in four, where it is 4.
  OwnedTensor tensor{DType::kU8, {64, 2}, std::vector<std::byte>(128)};
  for (unsigned i = 0; i < 64; ++i) {
    tensor.data[std::size_t{2} * i] = static_cast<std::byte>(i);
    tensor.data[std::size_t{2} * i + 1] = static_cast<std::byte>(i % 4 == 0 ? 4 : 5);
  }
  const Files files;
  files.write({{"t", tensor}}, {.packing = Packing::kPacked});
  const Invariance found = analyze_file(files.raw).tensors[0].invariance;
  EXPECT_FALSE(found.is_by_stretch);
  EXPECT_EQ(found.num_parts, 2U);
  EXPECT_EQ(found.shares, (std::vector<float>{0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 1, 0.75, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(Analysis, SeesStretchesWhereThereAreFewRows) {
  OwnedTensor tensor{DType::kU8, {1000}, std::vector<std::byte>(1000)};
  std::fill(tensor.data.begin() + 504, tensor.data.end(), std::byte{0xFF});
  const Files files;
  files.write({{"t", tensor}}, {.packing = Packing::kPacked});
  const Invariance found = analyze_file(files.raw).tensors[0].invariance;
  EXPECT_TRUE(found.is_by_stretch);
  EXPECT_EQ(found.columns_per_part, 8U);
  EXPECT_EQ(found.num_parts, 125U);
  EXPECT_TRUE(std::all_of(found.shares.begin(), found.shares.end(), [](float share) { return share == 1; }));
}

TEST(Analysis, TakesTensorsWithoutBytes) {
  const Files files;
  files.write({{"no rows", {DType::kF32, {0, 7}, {}}},
               {"no columns", {DType::kI8, {7, 0}, {}}},
               {"scalar", make_tensor(DType::kF64, {}, Values::kNormal, 1)}},
              {.packing = Packing::kPacked});
  for (const auto& path : {files.raw, files.compressed}) {
    for (const TensorAnalysis& analysis : analyze_file(path).tensors) expect_to_add_up(analysis);
  }
}

TEST(Analysis, NamesFileAndTensorOfAMalformedRow) {
  const Files files;
  files.write({{"weights", make_tensor(DType::kBF16, {64, 64}, Values::kNormal, 1)}},
              {.codec = Codec::kEscape, .packing = Packing::kSlotted});
  std::fstream file(files.compressed, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  // The last byte of a slotted payload is padding or a tag: all bytes of the last slots are overwritten.
  const std::string garbage(1024, '\x7F');
  file.seekp(-static_cast<std::streamoff>(garbage.size()), std::ios::end);
  file << garbage;
  file.close();
  try {
    (void)analyze_file(files.compressed);
    FAIL() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("c.safetensors: tensor \"weights\": stored row"), std::string::npos)
        << error.what();
  }
}

TEST(Analysis, RefusesADtypeOfAnotherWidth) {
  const Files files;
  files.write({{"t", make_tensor(DType::kU16, {4, 4}, Values::kNormal, 1)}}, {.packing = Packing::kPacked});
  EXPECT_EQ(analyze_file(files.raw, {.as = DType::kBF16}).tensors[0].info.dtype, DType::kBF16);
  EXPECT_THROW((void)analyze_file(files.raw, {.as = DType::kF32}), Error);
}

TEST(WordShape, KnowsExponentsAndLengths) {
  using analysis::word_shape;
  EXPECT_EQ(word_shape(DType::kF32).exponent(std::bit_cast<std::uint32_t>(-4.0F)), 127U + 2);
  EXPECT_EQ(word_shape(DType::kF64).exponent(std::bit_cast<std::uint64_t>(0.5)), 1023U - 1);
  EXPECT_EQ(word_shape(DType::kBF16).exponent(0x3F80), 127U);
  EXPECT_EQ(word_shape(DType::kF8E4M3).exponent(0x38), 7U);
  EXPECT_EQ(word_shape(DType::kF8E5M2).exponent(0x3C), 15U);
  EXPECT_EQ(word_shape(DType::kF8E8M0).exponent(0xFF), 255U);
  EXPECT_EQ(word_shape(DType::kF8E8M0).rest_bits(255), 0U);
  EXPECT_EQ(word_shape(DType::kI8).exponent(0xFF), 1U) << "-1";
  EXPECT_EQ(word_shape(DType::kI8).exponent(0x80), 8U) << "-128";
  EXPECT_EQ(word_shape(DType::kU8).exponent(0xFF), 8U);
  EXPECT_EQ(word_shape(DType::kI64).exponent(std::uint64_t{1} << 63), 64U);
  EXPECT_EQ(word_shape(DType::kU32).exponent(0), 0U);
  EXPECT_EQ(word_shape(DType::kI32).rest_bits(5), 4U + 1);
  EXPECT_EQ(word_shape(DType::kF32).rest_bits(5), 24U);
}

TEST(Exponents, HaveTheEntropyOfTheirCounts) {
  analysis::ExponentCounts counts(DType::kU16);
  const std::vector<std::uint16_t> numbers{0, 0, 1, 2};  // lengths 0, 0, 1, 2
  const std::vector<float> byte_bits{1, 2, 1, 2, 3, 4, 5, 6};
  counts.add(std::as_bytes(std::span(numbers)), byte_bits, 1);
  const Exponents found = counts.result();
  EXPECT_DOUBLE_EQ(found.entropy_bits, 1.5);
  EXPECT_DOUBLE_EQ(found.rest_bits, 0.25);
  ASSERT_EQ(found.uses.size(), 3U);
  EXPECT_EQ(found.uses[0].count, 2U);
  EXPECT_DOUBLE_EQ(found.uses[0].stored_bits, 3);
  EXPECT_DOUBLE_EQ(found.uses[2].stored_bits, 11);
}

}  // namespace
}  // namespace stillbit
