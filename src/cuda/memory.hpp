#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace stillbit::cuda {

/// Memory of a GPU.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// Of the current GPU; its last 64 bytes and more are zeros behind the `size` bytes that were asked for.
  static Result<DeviceMemory> allocate(std::uint64_t size);
  /// The same, with these bytes in it, and room for `capacity` bytes in all.
  static Result<DeviceMemory> holding(Bytes bytes, std::uint64_t capacity = 0);

  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

/// Host memory that GPUs read and write where it lies.
class PinnedMemory {
 public:
  PinnedMemory() = default;

  /// New memory, near the current GPU where the machine has several memory nodes. Where CUDA does not give memory of
  /// that size, ordinary memory is pinned piece by piece.
  static Result<PinnedMemory> allocate(std::uint64_t size);

  /// Pins memory that is there already, for reading only, as long as this lives: a tensor's, or a mapped file's.
  static Result<PinnedMemory> pin(Bytes bytes);

  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Bytes from `at` on, at most `size`, that were pinned with one call.
  [[nodiscard]] std::uint64_t pinned_together(const std::byte* at, std::uint64_t size) const noexcept;

 private:
  enum class Origin { kNone, kCuda, kMapped, kForeign };

  void release() noexcept;

  Origin origin_ = Origin::kNone;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::byte* pages_ = nullptr;  ///< of what was pinned piece by piece
  std::uint64_t pages_bytes_ = 0;
  std::uint64_t piece_bytes_ = 0;
};

/// Puts a copy from `memory`, or from any other where that is empty, on the stream: a call for each part of it that was
/// pinned with one. Copies across are not promised to work.
Result<void> copy_async(void* dst, const PinnedMemory& memory, const std::byte* src, std::uint64_t size,
                        cudaMemcpyKind kind, cudaStream_t stream);

}  // namespace stillbit::cuda
