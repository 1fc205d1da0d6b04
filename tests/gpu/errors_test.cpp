// Bad input to a GPU gets one clear error, and the GPU stays usable.

#include "tests/gpu/support.hpp"

#include <algorithm>

namespace stillbit {
namespace {

using namespace testing;

class GpuErrors : public Gpu<> {
 protected:
  /// The error of a call, or none.
  template <class Call>
  static std::pair<ErrorCode, std::string> error_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  OwnedTensor raw_ = make_tensor(DType::kBF16, {1000, 100}, Values::kNormal, 9);
  CompressedTensor tensor_ = compressed(raw_, Codec::kEscape, Packing::kSlotted);
};

TEST_F(GpuErrors, AnIndexOutOfRangeIsNamedAndItsRowIsNotWritten) {
  const cuda::Table table(tensor_);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{1000}, std::int64_t{1} << 62}) {
    std::vector<std::int64_t> index = random_rows<std::int64_t>(tensor_.num_rows(), 300, 1);
    std::vector<std::byte> expected = gathered(tensor_, index);
    index[123] = wrong;
    std::fill_n(expected.begin() + 123 * 200, 200, std::byte{0xEE});
    const OnDevice<std::int64_t> d_index(index);
    OnDevice<std::byte> d_out(expected.size());
    d_out.fill(0xEE);
    table.gather(d_index.data(), index.size(), d_out.data(), stream_);
    const auto [code, message] = error_of([&] { table.check(stream_); });
    EXPECT_EQ(code, ErrorCode::kOutOfRange);
    EXPECT_NE(message.find("position 123"), std::string::npos) << message;
    EXPECT_EQ(d_out.read(), expected);
    table.check(stream_);  // reported once
  }
}

TEST_F(GpuErrors, MemoryThatTheGpuCannotReachIsRefused) {
  const cuda::Table table(tensor_);
  std::vector<std::int64_t> index(10);
  std::vector<std::byte> out(10 * tensor_.row_bytes());
  const OnDevice<std::int64_t> d_index(index);
  const OnDevice<std::byte> d_out(out.size());
  auto [code, message] = error_of([&] { table.gather(index.data(), 10, d_out.data(), stream_); });
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("index is in host memory that is not pinned"), std::string::npos) << message;
  std::tie(code, message) = error_of([&] { table.gather(d_index.data(), 10, out.data(), stream_); });
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("out is in host memory"), std::string::npos) << message;
  std::tie(code, message) = error_of([&] { table.decompress(out.data(), stream_); });
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
}

TEST_F(GpuErrors, AGpuThatDoesNotExistIsNamed) {
  const auto [code, message] = error_of([&] { const cuda::Table table(tensor_, {.device = 999}); });
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("GPU 999"), std::string::npos) << message;
}

TEST_F(GpuErrors, TheCurrentDeviceIsLeftAsItWas) {
  if (cuda::num_devices() < 2) GTEST_SKIP() << "there is one GPU";
  const cuda::Table table(tensor_, {.device = 1});
  int device = -1;
  ASSERT_CUDA(cudaGetDevice(&device));
  EXPECT_EQ(device, 0);
}

}  // namespace
}  // namespace stillbit
