#pragma once

#include "cuda/ptx.cuh"
#include "warp/warp.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit::cuda {

/// Where tiles wait to be expanded: in shared memory, or, where they are too long for it, in the GPU's own.
enum class Staging { kShared, kGlobal };

/// The warp that runs this code (warp/warp.hpp).
template <Staging kStaging>
class DeviceWarp {
 public:
  template <class T>
  struct PerLane {
    T value;
    __device__ __forceinline__ T& operator[](unsigned) { return value; }
    __device__ __forceinline__ const T& operator[](unsigned) const { return value; }
  };

  __device__ __forceinline__ DeviceWarp() : lane_(threadIdx.x % warp::kLanes) {}

  template <class Body>
  __device__ __forceinline__ void each(const Body& body) const {
    body(lane_);
  }

  [[nodiscard]] __device__ __forceinline__ std::uint32_t ballot(const PerLane<bool>& flags) const {
    return __ballot_sync(kAll, flags.value);
  }

  template <class T>
  [[nodiscard]] __device__ __forceinline__ PerLane<T> shuffle_up(const PerLane<T>& value, unsigned distance) const {
    return {__shfl_up_sync(kAll, value.value, distance)};
  }

  template <class T>
  [[nodiscard]] __device__ __forceinline__ T broadcast(const PerLane<T>& value, unsigned lane) const {
    return __shfl_sync(kAll, value.value, static_cast<int>(lane));
  }

  [[nodiscard]] __device__ __forceinline__ PerLane<std::uint32_t> inclusive_sum(PerLane<std::uint32_t> value) const {
#pragma unroll
    for (unsigned distance = 1; distance < warp::kLanes; distance *= 2)
      value.value = ptx::add_from_below(value.value, distance);
    return value;
  }

  [[nodiscard]] __device__ __forceinline__ std::uint32_t sum(const PerLane<std::uint32_t>& value) const {
    return __reduce_add_sync(kAll, value.value);
  }

  __device__ __forceinline__ void sync() const { __syncwarp(); }

  __device__ __forceinline__ void copy_async(std::byte* dst, const std::byte* src) const {
    if constexpr (kStaging == Staging::kShared) {
      ptx::copy_16_async(dst, src);
    } else {
      *reinterpret_cast<uint4*>(dst) = ptx::load_16_streaming(src);
    }
  }

  __device__ __forceinline__ void commit_copies() const {
    if constexpr (kStaging == Staging::kShared) ptx::commit_copies();
  }

  __device__ __forceinline__ void wait_copies(unsigned num_pending) const {
    if constexpr (kStaging == Staging::kShared) {
      switch (num_pending) {
        case 0:
          ptx::wait_copies<0>();
          break;
        case 1:
          ptx::wait_copies<1>();
          break;
        case 2:
          ptx::wait_copies<2>();
          break;
        case 3:
          ptx::wait_copies<3>();
          break;
        case 4:
          ptx::wait_copies<4>();
          break;
        case 5:
          ptx::wait_copies<5>();
          break;
        case 6:
          ptx::wait_copies<6>();
          break;
        default:
          ptx::wait_copies<7>();
          break;
      }
    }
    __syncwarp();  // each lane has waited for its own copies only
  }

  template <class T>
  __device__ __forceinline__ T fetch_add(T* sum, T value) const {
    if constexpr (sizeof(T) == 8) {
      return static_cast<T>(
          atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value)));
    } else {
      return atomicAdd(sum, value);
    }
  }
  __device__ __forceinline__ std::uint32_t fetch_or(std::uint32_t* bits, std::uint32_t value) const {
    return atomicOr(bits, value);
  }
  __device__ __forceinline__ std::uint32_t fetch_max(std::uint32_t* word, std::uint32_t value) const {
    return atomicMax(word, value);
  }
  __device__ __forceinline__ bool claim(std::uint32_t* word, std::uint32_t value) const {
    return atomicCAS(word, 0U, value) == 0U;
  }

 private:
  static constexpr unsigned kAll = 0xFFFFFFFFU;
  unsigned lane_;
};

}  // namespace stillbit::cuda
