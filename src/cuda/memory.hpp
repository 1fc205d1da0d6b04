#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

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

 private:
  enum class Origin { kNone, kCuda, kMapped, kForeign };

  void release() noexcept;

  Origin origin_ = Origin::kNone;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::byte* pages_ = nullptr;  ///< of what was pinned piece by piece
  std::uint64_t pages_bytes_ = 0;
};

}  // namespace stillbit::cuda
