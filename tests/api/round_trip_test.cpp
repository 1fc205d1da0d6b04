// The promise: whatever the bits, they come back.

#include <stillbit/stillbit.hpp>

#include "cpu/copy.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

CompressOptions options_for(Packing packing, std::optional<Codec> codec = {}, unsigned row_dims = 1) {
  CompressOptions options;
  options.packing = packing;
  options.codec = codec;
  options.row_dims = row_dims;
  return options;
}

std::vector<std::byte> decompressed(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  return out;
}

constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};
constexpr Objective kObjectives[] = {Objective::kStorage, Objective::kTransfer, Objective::kSpeed,
                                     Objective::kSmallest};

class EveryDType : public ::testing::TestWithParam<unsigned> {};

TEST_P(EveryDType, EveryKindOfValueComesBackInBothPackings) {
  const auto dtype = static_cast<DType>(GetParam());
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{300, 33}, {7, 5, 64}, {1000}, {2000, 3}, {3, 4097}}) {
      const OwnedTensor raw = make_tensor(dtype, shape, values, 1);
      for (const Packing packing : kPackings) {
        const CompressedTensor tensor = compress(raw.view(), options_for(packing));
        ASSERT_EQ(decompressed(tensor), raw.data) << name(dtype) << ' ' << name(values) << ' ' << name(packing);
        EXPECT_EQ(tensor.dtype(), dtype);
        EXPECT_EQ(tensor.shape(), shape);
        tensor.verify();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryDType, ::testing::Range(0U, kNumDTypes),
                         [](const auto& test) { return std::string(name(static_cast<DType>(test.param))); });

/// A codec sees bits: one dtype of each width, and the layouts of floats that it is made for.
class CodecDType : public ::testing::TestWithParam<DType> {};

TEST_P(CodecDType, EveryCodecThatIsAskedForGivesTheValuesBack) {
  const DType dtype = GetParam();
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{90, 65}, {700, 3}, {2, 4097}}) {
      const OwnedTensor raw = make_tensor(dtype, shape, values, 2);
      for (const Codec codec : kCodecs) {
        for (const Packing packing : kPackings) {
          const CompressedTensor tensor = compress(raw.view(), options_for(packing, codec));
          ASSERT_EQ(decompressed(tensor), raw.data)
              << name(codec) << ' ' << name(dtype) << ' ' << name(values) << ' ' << name(packing);
          EXPECT_TRUE(tensor.codec() == codec || tensor.codec() == Codec::kRaw);
          EXPECT_LE(tensor.stored_bytes(), tensor.raw_bytes() + 256);
          tensor.verify();
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CodecDType,
                         ::testing::Values(DType::kU8, DType::kF16, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(Patterns, AllOf8And16BitsComeBack) {
  for (const DType dtype : {DType::kU8, DType::kF8E4M3, DType::kF16, DType::kBF16}) {
    const std::uint64_t count = num_bytes(dtype) == 1 ? 256 : 65536;
    const OwnedTensor raw = make_tensor(dtype, {count / 256, 256}, Values::kAllPatterns, 1);
    for (const Packing packing : kPackings) {
      EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing))), raw.data);
    }
  }
}

/// All patterns again, among rows that make a codec believe in its masks: most of them then deviate or break them.
TEST(Patterns, AllOf16BitsComeBackAmongRegularRows) {
  OwnedTensor raw = make_tensor(DType::kBF16, {4096, 256}, Values::kNormal, 1);
  const OwnedTensor patterns = make_tensor(DType::kBF16, {256, 256}, Values::kAllPatterns, 1);
  std::copy(patterns.data.begin(), patterns.data.end(), raw.data.begin() + 1000 * 512);
  for (const Packing packing : kPackings) {
    const CompressedTensor tensor = compress(raw.view(), options_for(packing));
    EXPECT_NE(tensor.codec(), Codec::kRaw);
    EXPECT_EQ(decompressed(tensor), raw.data);
    for (const Codec codec : kCodecs)
      EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing, codec))), raw.data) << name(codec);
  }
}

TEST(Patterns, SpecialFloatsAreData) {
  const std::uint32_t special[] = {0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001,
                                   0x7F800001, 0x7FFFFFFF, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF};
  OwnedTensor raw = make_tensor(DType::kF32, {1000, 12}, Values::kNormal, 1);
  for (std::size_t row = 0; row < 1000; row += 50) std::memcpy(raw.data.data() + row * 48, special, 48);
  for (const Packing packing : kPackings) EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing))), raw.data);
}

TEST(Edges, EmptyAndTinyTensorsComeBack) {
  for (const auto& shape : {std::vector<std::uint64_t>{}, {0}, {1}, {0, 8}, {8, 0}, {3, 0, 2}, {1, 1, 1, 1}}) {
    const OwnedTensor raw = make_tensor(DType::kF32, shape, Values::kNormal, 1);
    for (const Packing packing : kPackings) {
      const CompressedTensor tensor = compress(raw.view(), options_for(packing));
      EXPECT_EQ(decompressed(tensor), raw.data);
      EXPECT_EQ(tensor.codec(), Codec::kRaw);
      EXPECT_EQ(tensor.transfer_ratio(), 1.0);
      tensor.verify();
    }
  }
}

TEST(Edges, RowsOfNothingCanBeGathered) {
  const OwnedTensor raw = make_tensor(DType::kF32, {8, 0}, Values::kNormal, 1);
  const std::vector<std::int64_t> index{7, 0};
  compress(raw.view()).gather(index, {});
}

TEST(Edges, RowsThatTakeNoBytesComeBack) {
  const OwnedTensor raw = make_tensor(DType::kU8, {58}, Values::kConstant, 1);
  for (const Packing packing : kPackings) {
    for (const Codec codec : kCodecs)
      EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing, codec, 0))), raw.data) << name(codec);
  }
}

TEST(Edges, WhatDoesNotShrinkIsStoredRaw) {
  const OwnedTensor raw = make_tensor(DType::kU32, {1000, 16}, Values::kRandomBits, 1);
  for (const Packing packing : kPackings) {
    const CompressedTensor tensor = compress(raw.view(), options_for(packing, Codec::kIbp));
    EXPECT_EQ(tensor.codec(), Codec::kRaw);
    EXPECT_LE(tensor.stored_bytes(), tensor.raw_bytes() + 256);
  }
}

TEST(Edges, RowDimsDecideWhatARowIs) {
  const OwnedTensor raw = make_tensor(DType::kF32, {20, 3, 16}, Values::kSmallInts, 1);
  EXPECT_EQ(compress(raw.view(), options_for(Packing::kSlotted, {}, 1)).num_rows(), 60U);
  EXPECT_EQ(compress(raw.view(), options_for(Packing::kSlotted, {}, 2)).num_rows(), 20U);
  EXPECT_EQ(compress(raw.view(), options_for(Packing::kSlotted, {}, 0)).row_bytes(), 4U);
  for (const unsigned row_dims : {0U, 1U, 2U, 3U}) {
    EXPECT_EQ(compress(raw.view(), options_for(Packing::kSlotted, {}, row_dims)).row_dims(), row_dims);
    for (const Packing packing : kPackings)
      EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing, {}, row_dims))), raw.data);
  }
  EXPECT_THROW((void)compress(raw.view(), options_for(Packing::kSlotted, {}, 4)), Error);
}

TEST(Edges, LongRowsThatAreCutIntoPartsOfAlmostAnySizeComeBack) {
  // A third of 131,560 bytes, which are whole words of 8, is not.
  for (const std::uint64_t columns : {65'780U, 65'781U, 98'308U}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, {2, columns}, Values::kNormal, 1);
    for (const std::uint64_t num_rows : {1U, 2U}) {
      const auto bytes = Bytes(raw.data).first(num_rows * columns * 2);
      for (const Objective objective : kObjectives) {
        CompressOptions options;
        options.packing = Packing::kPacked;
        options.objective = objective;
        const CompressedTensor tensor = compress({bytes.data(), DType::kBF16, {num_rows, columns}}, options);
        const std::vector<std::byte> found = decompressed(tensor);
        EXPECT_TRUE(std::equal(found.begin(), found.end(), bytes.begin(), bytes.end()));
      }
    }
  }
}

TEST(Edges, RowsPastEveryBlockSizeComeBack) {
  // Longer than a chunk, than what is counted column by column, and than codec ibp takes.
  for (const std::uint64_t columns : {20'000, 300'001, 1'200'000}) {
    const OwnedTensor raw = make_tensor(DType::kBF16, {5, columns}, Values::kNormal, 1);
    for (const Packing packing : kPackings)
      EXPECT_EQ(decompressed(compress(raw.view(), options_for(packing))), raw.data);
  }
}

/// A random tensor: shape, dtype, values and how it is compressed.
struct RandomCase {
  OwnedTensor raw;
  CompressOptions options;
};

rc::Gen<RandomCase> random_case() {
  return rc::gen::exec([] {
    const auto dtype = static_cast<DType>(*rc::gen::inRange(0U, kNumDTypes));
    const auto rank = *rc::gen::inRange<std::size_t>(0, 4);
    std::vector<std::uint64_t> shape;
    for (std::size_t i = 0; i < rank; ++i)
      shape.push_back(*rc::gen::inRange<std::uint64_t>(0, i + 1 == rank ? 300 : 40));
    const auto values =
        *rc::gen::elementOf(std::vector<Values>(std::begin(testing::kAllValues), std::end(testing::kAllValues)));
    CompressOptions options;
    options.packing = *rc::gen::element(Packing::kPacked, Packing::kSlotted);
    const auto codec = *rc::gen::inRange<std::size_t>(0, 2 * std::size(kCodecs));
    if (codec < std::size(kCodecs)) options.codec = kCodecs[codec];
    options.objective = kObjectives[*rc::gen::inRange<std::size_t>(0, std::size(kObjectives))];
    options.row_dims = *rc::gen::inRange(0U, static_cast<unsigned>(rank) + 1);
    options.num_threads = *rc::gen::inRange(1U, 4U);
    options.max_sample_bytes = *rc::gen::element<std::uint64_t>(1, 1000, 1 << 20);
    return RandomCase{make_tensor(dtype, shape, values, *rc::gen::arbitrary<std::uint64_t>()), options};
  });
}

RC_GTEST_PROP(Property, DecompressingGivesTheSameBits, ()) {
  const RandomCase random = *random_case();
  const CompressedTensor tensor = compress(random.raw.view(), random.options);
  RC_ASSERT(decompressed(tensor) == random.raw.data);
  tensor.verify();
}

RC_GTEST_PROP(Property, GatheringGivesTheRows, ()) {
  const RandomCase random = *random_case();
  const CompressedTensor tensor = compress(random.raw.view(), random.options);
  if (tensor.num_rows() == 0) return;
  const auto index = *rc::gen::container<std::vector<std::int64_t>>(
      rc::gen::inRange<std::int64_t>(0, static_cast<std::int64_t>(tensor.num_rows())));
  std::vector<std::byte> expected;
  for (const std::int64_t row : index) {
    const auto begin = random.raw.data.begin() + row * static_cast<std::int64_t>(tensor.row_bytes());
    expected.insert(expected.end(), begin, begin + static_cast<std::int64_t>(tensor.row_bytes()));
  }
  std::vector<std::byte> out(expected.size());
  tensor.gather(index, out);
  RC_ASSERT(out == expected);
  const std::vector<std::int32_t> short_index(index.begin(), index.end());
  std::fill(out.begin(), out.end(), std::byte{0});
  tensor.gather(short_index, out);
  RC_ASSERT(out == expected);
}

RC_GTEST_PROP(Property, ThreadsAndSamplesChangeNothingButSize, ()) {
  RandomCase random = *random_case();
  random.options.max_sample_bytes = 1 << 20;
  random.options.num_threads = 1;
  const CompressedTensor one = compress(random.raw.view(), random.options);
  random.options.num_threads = 3;
  const CompressedTensor three = compress(random.raw.view(), random.options);
  RC_ASSERT(one.stored_bytes() == three.stored_bytes());
}

TEST(Gather, BatchesOfAnySizeComeBackWhereverTheirTailsAre) {
  // One row in four takes more than its slot, and one in sixteen is stored raw.
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    for (const std::uint64_t columns : {24U, 64U, 130U, 256U, 600U}) {
      OwnedTensor raw = make_tensor(dtype, {64, columns}, Values::kNormal, 1);
      const OwnedTensor odd = make_tensor(dtype, {64, columns}, Values::kRandomBits, 2);
      const std::uint64_t row_bytes = columns * num_bytes(dtype);
      for (std::uint64_t row = 0; row < 64; row += 4) {
        const std::uint64_t odd_bytes = row % 16 == 0 ? row_bytes : row_bytes / 8;
        std::copy_n(odd.data.begin() + static_cast<std::ptrdiff_t>(row * row_bytes), odd_bytes,
                    raw.data.begin() + static_cast<std::ptrdiff_t>(row * row_bytes));
      }
      for (const Packing packing : kPackings) {
        for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
          CompressOptions options = options_for(packing);
          options.codec = codec;
          const CompressedTensor tensor = compress(raw.view(), options);
          for (std::size_t count = 0; count < 40; ++count) {
            std::vector<std::int64_t> index;
            std::vector<std::byte> expected;
            for (std::size_t i = 0; i < count; ++i) {
              index.push_back(static_cast<std::int64_t>((count + i * 13) % 64));
              const auto row = raw.data.begin() + index.back() * static_cast<std::ptrdiff_t>(row_bytes);
              expected.insert(expected.end(), row, row + static_cast<std::ptrdiff_t>(row_bytes));
            }
            std::vector<std::byte> out(expected.size());
            tensor.gather(index, out, 1);
            ASSERT_EQ(out, expected) << columns << " columns, " << count << " rows";
          }
        }
      }
    }
  }
}

TEST(Gather, RowsThatAreWrittenPastTheCachesAreTheSame) {
  constexpr std::uint64_t kNumRows = 64;
  constexpr std::uint64_t kNotALine = 2;
  for (const std::uint64_t columns : {64U, 128U, 200U, 256U, 383U, 512U}) {
    OwnedTensor raw = make_tensor(DType::kBF16, {kNumRows, columns}, Values::kNormal, 1);
    // One row in eight is stored raw.
    const OwnedTensor odd = make_tensor(DType::kBF16, {kNumRows, columns}, Values::kRandomBits, 2);
    const std::uint64_t row_bytes = columns * 2;
    for (std::uint64_t at = 0; at < raw.data.size(); at += 8 * row_bytes)
      std::copy_n(odd.data.data() + at, row_bytes, raw.data.data() + at);
    std::vector<std::int64_t> index(cpu::kPastCachesBytes / row_bytes + 3);
    for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i * 13 % kNumRows);
    for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
      const CompressedTensor tensor = compress(raw.view(), options_for(Packing::kSlotted, codec));
      for (const std::uint64_t misaligned_by : {std::uint64_t{0}, kNotALine}) {
        std::vector<std::byte> memory(index.size() * row_bytes + misaligned_by);
        const std::span out = std::span(memory).subspan(misaligned_by);
        tensor.gather(index, out, 2);
        for (std::size_t i = 0; i < index.size(); ++i)
          ASSERT_EQ(std::memcmp(out.data() + i * row_bytes,
                                raw.data.data() + static_cast<std::uint64_t>(index[i]) * row_bytes, row_bytes),
                    0)
              << columns << " columns, row " << i;
      }
    }
  }
}

TEST(Gather, IndicesOutOfRangeAreNamedAndNothingIsWritten) {
  const OwnedTensor raw = make_tensor(DType::kF32, {10, 4}, Values::kNormal, 1);
  for (const Packing packing : kPackings) {
    const CompressedTensor tensor = compress(raw.view(), options_for(packing));
    for (const std::int64_t wrong : {std::int64_t{10}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                                     std::numeric_limits<std::int64_t>::max()}) {
      const std::vector<std::int64_t> index{3, wrong};
      std::vector<std::byte> out(32, std::byte{0x55});
      try {
        tensor.gather(index, out);
        FAIL();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kOutOfRange);
        EXPECT_NE(std::string(error.what()).find(std::to_string(wrong) + " at position 1"), std::string::npos)
            << error.what();
      }
      EXPECT_EQ(out, std::vector<std::byte>(32, std::byte{0x55}));
    }
  }
}

TEST(Output, OfTheWrongSizeIsRefused) {
  const OwnedTensor raw = make_tensor(DType::kF32, {10, 4}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  std::vector<std::byte> out(161);
  EXPECT_THROW(tensor.decompress(out), Error);
  const std::vector<std::int64_t> index{1, 2};
  EXPECT_THROW(tensor.gather(index, out), Error);
}

TEST(Ratio, IsWhatIsStored) {
  const OwnedTensor raw = make_tensor(DType::kF32, {5000, 256}, Values::kBagOfWords, 1);
  for (const Packing packing : kPackings) {
    const CompressedTensor tensor = compress(raw.view(), options_for(packing));
    EXPECT_EQ(tensor.codec(), Codec::kSparse);
    EXPECT_GT(tensor.ratio(), 20);
    EXPECT_GT(tensor.transfer_ratio(), 10);
    EXPECT_LT(tensor.metadata_bytes(), tensor.stored_bytes() / 4);
  }
}

}  // namespace
}  // namespace stillbit
