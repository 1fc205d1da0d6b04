// Memory that a GPU reads and writes, and CUDA's errors as exceptions.

#pragma once

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace stillbit::bench::gpu {

inline void require(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) throw std::runtime_error(what + ": " + cudaGetErrorString(error));
}

struct FreeDevice {
  void operator()(std::byte* memory) const { (void)cudaFree(memory); }
};
struct FreePinned {
  void operator()(std::byte* memory) const { (void)cudaFreeHost(memory); }
};
struct Unregister {
  std::size_t num_bytes = 0;
  void operator()(std::byte* memory) const {
    (void)cudaHostUnregister(memory);
    (void)::munmap(memory, num_bytes);
  }
};
using DeviceMemory = std::unique_ptr<std::byte, FreeDevice>;
using PinnedMemory = std::unique_ptr<std::byte, FreePinned>;
using RegisteredMemory = std::unique_ptr<std::byte, Unregister>;

inline DeviceMemory device_memory(std::uint64_t size) {
  void* memory = nullptr;
  require(cudaMalloc(&memory, size), "cudaMalloc of " + std::to_string(size) + " bytes");
  return DeviceMemory(static_cast<std::byte*>(memory));
}

inline PinnedMemory pinned_memory(std::uint64_t size, unsigned flags = cudaHostAllocDefault) {
  void* memory = nullptr;
  require(cudaHostAlloc(&memory, size, flags), "cudaHostAlloc of " + std::to_string(size) + " bytes");
  return PinnedMemory(static_cast<std::byte*>(memory));
}

/// Registered, and of huge pages as far as the system has them. Zeros.
RegisteredMemory huge_pages(std::uint64_t size);

}  // namespace stillbit::bench::gpu
