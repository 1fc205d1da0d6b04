// Tensors that are encoded into memory in one pass become what the passes that files are written in make of them.

#include "api/compressed_tensor.hpp"
#include "api/encoder.hpp"
#include "api/section_buffers.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

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

}  // namespace
}  // namespace stillbit
