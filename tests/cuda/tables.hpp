#pragma once

#include "cuda/device_table.hpp"
#include "tests/cuda/fake_runtime.hpp"
#include "tests/support/make_tensor.hpp"

#include <stillbit/tensor.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace stillbit::testing {

/// Tables on a GPU that there is not: the CUDA runtime is a fake, and kernels are played by the CPU.
class Tables : public ::testing::Test {
 protected:
  void SetUp() override;
  /// Nothing is left allocated.
  void TearDown() override;

  static CompressedTensor compressed(Codec codec, Packing packing, std::vector<std::uint64_t> shape,
                                     Values values = Values::kOutliers);

  static Result<std::unique_ptr<cuda::DeviceTable>> table_of(const CompressedTensor& tensor,
                                                             const cuda::TableOptions& options);
  static Result<std::unique_ptr<cuda::DeviceTable>> table_of(const CompressedTensor& tensor,
                                                             cuda::Placement placement) {
    return table_of(tensor, cuda::TableOptions{.placement = placement});
  }

  static std::vector<std::byte> expected(const CompressedTensor& tensor);

  /// Memory of the fake GPU.
  static cuda::DeviceMemory on_device(std::uint64_t size) { return cuda::DeviceMemory::allocate(size).value(); }

  void expect_expands(cuda::DeviceTable& table, const CompressedTensor& tensor);

  cudaStream_t stream_ = nullptr;
};

}  // namespace stillbit::testing
