#pragma once

#include <stillbit/cuda.hpp>
#include <stillbit/error.hpp>

#include "tests/support/make_tensor.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace stillbit::testing {

#define ASSERT_CUDA(...) ASSERT_EQ((__VA_ARGS__), cudaSuccess) << #__VA_ARGS__
#define EXPECT_CUDA(...) EXPECT_EQ((__VA_ARGS__), cudaSuccess) << #__VA_ARGS__

/// Memory of the GPU that holds a vector's elements.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t size) : size_(size) { EXPECT_CUDA(cudaMalloc(&data_, size * sizeof(T) + 1)); }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    EXPECT_CUDA(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { EXPECT_CUDA(cudaFree(data_)); }

  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(size_);
    EXPECT_CUDA(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  void fill(int byte) { EXPECT_CUDA(cudaMemset(data_, byte, size_ * sizeof(T))); }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

/// A test that is skipped where there is no GPU, and says so.
template <class Base = ::testing::Test>
class Gpu : public Base {
 protected:
  void SetUp() override {
    std::string why;
    if (cuda::num_devices(&why) == 0) GTEST_SKIP() << why;
    ASSERT_CUDA(cudaSetDevice(0));
    ASSERT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  void TearDown() override {
    if (stream_ != nullptr) {
      EXPECT_CUDA(cudaStreamDestroy(stream_));
    }
  }

  cudaStream_t stream_ = nullptr;
};

/// Random rows of a table, the same ones for the same seed.
template <class Index>
std::vector<Index> random_rows(std::uint64_t num_rows, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<Index> index(count);
  for (Index& row : index) row = static_cast<Index>(generator() % num_rows);
  return index;
}

/// Those rows, by the CPU.
template <class Index>
std::vector<std::byte> gathered(const CompressedTensor& tensor, const std::vector<Index>& index) {
  std::vector<std::byte> out(index.size() * tensor.row_bytes());
  tensor.gather(std::span<const Index>(index), out);
  return out;
}

inline constexpr Codec kAllCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                                       Codec::kSparse, Codec::kDictionary, Codec::kRans};
inline constexpr Packing kAllPackings[] = {Packing::kPacked, Packing::kSlotted};
inline constexpr cuda::Placement kAllPlacements[] = {cuda::Placement::kPinned, cuda::Placement::kInPlace,
                                                     cuda::Placement::kDevice};

inline CompressedTensor compressed(const OwnedTensor& raw, Codec codec, Packing packing) {
  CompressOptions options;
  options.codec = codec;
  options.packing = packing;
  return compress(raw.view(), options);
}

}  // namespace stillbit::testing
