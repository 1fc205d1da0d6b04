// What warps of a GPU do, played on the CPU: the same bits as the CPU's own code gives.

#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <numeric>
#include <random>

namespace stillbit {
namespace {

using testing::HostTable;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;
using testing::WarpSetup;

constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,    Codec::kWindow,
                             Codec::kEscape, Codec::kSparse, Codec::kDictionary};
constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};

CompressedTensor compressed(const OwnedTensor& raw, Codec codec, Packing packing) {
  CompressOptions options;
  options.codec = codec;
  options.packing = packing;
  options.num_threads = 1;
  return compress(raw.view(), options);
}

std::vector<std::byte> expanded(const CompressedTensor& tensor, const WarpSetup& setup = {}) {
  std::vector<std::byte> out(tensor.raw_bytes());
  EXPECT_EQ(HostTable(tensor).expand(out.data(), setup).fault, 0U);
  return out;
}

class WarpDType : public ::testing::TestWithParam<DType> {};

TEST_P(WarpDType, EveryCodecExpandsToWhatWasCompressed) {
  for (const Values values : testing::kAllValues) {
    for (const auto& shape : {std::vector<std::uint64_t>{90, 65}, {41, 512}, {700, 3}, {2, 4097}}) {
      const OwnedTensor raw = make_tensor(GetParam(), shape, values, 7);
      for (const Codec codec : kCodecs) {
        for (const Packing packing : kPackings) {
          const CompressedTensor tensor = compressed(raw, codec, packing);
          ASSERT_EQ(expanded(tensor), raw.data)
              << name(codec) << ' ' << name(GetParam()) << ' ' << name(values) << ' ' << name(packing);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WarpDType,
                         ::testing::Values(DType::kF8E4M3, DType::kF16, DType::kBF16, DType::kF32, DType::kF64),
                         [](const auto& test) { return std::string(name(test.param)); });

}  // namespace
}  // namespace stillbit
