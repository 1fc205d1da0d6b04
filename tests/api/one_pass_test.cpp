// Tensors that are encoded into memory in one pass become what the passes that files are written in make of them.

#include "api/compressed_tensor.hpp"
#include "api/encoder.hpp"
#include "api/section_buffers.hpp"
#include "cpu/copy.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

/// The sections of a tensor, and its header.
struct Encoded {
  format::PayloadHeader header;
  std::vector<std::byte> plan;
  Buffer map, index, rows, overflow;
};

Source source_of(const OwnedTensor& tensor) {
  return {tensor.data, tensor.dtype, tensor.shape, false};
}

Encoded encoded_at_once(const OwnedTensor& tensor, const CompressOptions& options) {
  Encoded result;
  const Encoder encoder =
      Encoder::encode(source_of(tensor), options, {result.map, result.index, result.rows, result.overflow}).value();
  result.header = encoder.header();
  result.plan = encoder.codec()->plan();
  return result;
}

Encoded measured_and_encoded(const OwnedTensor& tensor, const CompressOptions& options) {
  Encoded result;
  Encoder encoder = Encoder::prepare(source_of(tensor), options).value();
  BufferSink sink({result.map, result.index, result.rows, result.overflow});
  sink.renew(encoder.header());
  EXPECT_TRUE(encoder.write(sink).ok());
  result.header = encoder.header();
  result.plan = encoder.codec()->plan();
  return result;
}

bool equal(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

/// Checks both ways, for any number of threads; returns the header.
format::PayloadHeader check(const OwnedTensor& tensor, CompressOptions options) {
  const Encoded expected = measured_and_encoded(tensor, options);
  for (const unsigned num_threads : {1U, 3U}) {
    options.num_threads = num_threads;
    const Encoded found = encoded_at_once(tensor, options);
    EXPECT_EQ(format::serialize(found.header), format::serialize(expected.header));
    EXPECT_EQ(found.plan, expected.plan);
    EXPECT_TRUE(equal(found.map.view(), expected.map.view()));
    EXPECT_TRUE(equal(found.index.view(), expected.index.view()));
    EXPECT_TRUE(equal(found.rows.view(), expected.rows.view()));
    EXPECT_TRUE(equal(found.overflow.view(), expected.overflow.view()));
  }
  return expected.header;
}

TEST(OnePass, GivesTheSameBytesAsSeveral) {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    for (const Values values : testing::kAllValues) {
      for (const auto& shape : {std::vector<std::uint64_t>{5000, 96}, {20001, 5}, {3, 60003}, {0, 4}, {1, 1}}) {
        SCOPED_TRACE(name(values) + " " + std::string(name(packing)) + " " + std::to_string(shape[0]));
        CompressOptions options;
        options.packing = packing;
        options.max_sample_bytes = 64 << 10;  // prices are estimates, then
        check(make_tensor(DType::kF32, shape, values, 1), options);
      }
    }
  }
}

/// Rows of 256 floats of which the sample of 64 KiB sees only those of small integers.
OwnedTensor better_in_the_sample(Values others) {
  OwnedTensor tensor = make_tensor(DType::kF32, {8192, 256}, others, 1);
  const OwnedTensor sampled = make_tensor(DType::kF32, {8192, 256}, Values::kSmallInts, 2);
  constexpr std::uint64_t kRowBytes = 1024;
  constexpr std::uint64_t kRowsPerRun = 128;
  for (std::uint64_t row = 0; row < 8192; ++row) {
    if (row % kRowsPerRun >= 8) continue;
    const auto from = sampled.data.begin() + static_cast<std::ptrdiff_t>(row * kRowBytes);
    std::copy_n(from, kRowBytes, tensor.data.begin() + static_cast<std::ptrdiff_t>(row * kRowBytes));
  }
  return tensor;
}

TEST(OnePass, EndsWellWhereTheSamplePromisedTooMuch) {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    for (const Values others : {Values::kNormal, Values::kRandomBits}) {
      SCOPED_TRACE(name(others) + " " + std::string(name(packing)));
      CompressOptions options;
      options.packing = packing;
      options.max_sample_bytes = 64 << 10;
      const OwnedTensor tensor = better_in_the_sample(others);
      const format::PayloadHeader header = check(tensor, options);
      const auto promised = Encoder::planned(source_of(tensor), options, nullptr).value().header();
      EXPECT_GT(header.rows_bytes + header.overflow_bytes, 2 * (promised.rows_bytes + promised.overflow_bytes));
    }
  }
}

/// Into new memory of a size that passes the caches, and into the same again; rows that end chunks at any place.
TEST(OnePass, LargeTensorsAreTheSameByAnyNumberOfThreads) {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    for (const std::uint64_t num_columns : {1000U, 24U}) {
      SCOPED_TRACE(std::string(name(packing)) + " " + std::to_string(num_columns));
      CompressOptions options;
      options.packing = packing;
      options.codec = Codec::kEscape;
      options.num_threads = 1;
      const OwnedTensor tensor =
          make_tensor(DType::kBF16, {(std::uint64_t{30} << 20) / num_columns, num_columns}, Values::kNormal, 1);
      const Encoded expected = encoded_at_once(tensor, options);
      ASSERT_EQ(expected.header.codec, Codec::kEscape);
      ASSERT_GT(expected.rows.size(), cpu::kPastCachesBytes);
      for (const unsigned num_threads : {2U, 7U}) {
        options.num_threads = num_threads;
        Encoded found = encoded_at_once(tensor, options);
        for (const bool is_again : {false, true}) {
          if (is_again) {
            ASSERT_TRUE(
                Encoder::encode(source_of(tensor), options, {found.map, found.index, found.rows, found.overflow}).ok());
          }
          EXPECT_EQ(format::serialize(found.header), format::serialize(expected.header));
          EXPECT_TRUE(equal(found.index.view(), expected.index.view()));
          EXPECT_TRUE(equal(found.rows.view(), expected.rows.view()));
          EXPECT_TRUE(equal(found.overflow.view(), expected.overflow.view()));
        }
      }
    }
  }
}

/// A thread that goes away leaves none behind that waits for it.
TEST(OnePass, EndsWhenAPartFails) {
  const OwnedTensor tensor = make_tensor(DType::kF32, {8192, 256}, Values::kNormal, 1);
  CompressOptions options;
  std::atomic<int> num_parts = 0;
  options.progress = [&](std::uint64_t) {
    if (++num_parts == 3) throw std::runtime_error("the third part");
  };
  for (const unsigned num_threads : {1U, 3U}) {
    options.num_threads = num_threads;
    num_parts = 0;
    EXPECT_THROW(encoded_at_once(tensor, options), std::runtime_error);
  }
}

}  // namespace
}  // namespace stillbit
