// What a machine without a GPU says, and that it goes on working.

#include <stillbit/cuda.hpp>
#include <stillbit/error.hpp>

#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

namespace stillbit {
namespace {

class WithoutGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::num_devices() > 0) GTEST_SKIP() << "there is a GPU";
  }
};

TEST_F(WithoutGpu, SaysWhy) {
  std::string why;
  EXPECT_EQ(cuda::num_devices(&why), 0);
  EXPECT_NE(why.find("GPU"), std::string::npos) << why;
}

TEST_F(WithoutGpu, ATableFailsWithOneErrorAndTheTensorStaysUsable) {
  const auto raw = testing::make_tensor(DType::kBF16, {100, 64}, testing::Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  try {
    const cuda::Table table(tensor);
    FAIL() << "there is no GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_NE(std::string(error.what()).find("GPU"), std::string::npos) << error.what();
  }
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  EXPECT_EQ(out, raw.data);
}

}  // namespace
}  // namespace stillbit
