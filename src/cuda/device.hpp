#pragma once

#include "core/result.hpp"
#include "cuda/launch.hpp"

#include <string>

namespace stillbit::cuda {

/// How many GPUs there are; a fault that says why where there is none.
Result<int> count_devices();

/// The calling thread's current GPU.
Result<int> current_device();

Result<DeviceLimits> limits_of(int device);

/// Makes a GPU the calling thread's current one for as long as it lives.
class DeviceScope {
 public:
  static Result<DeviceScope> enter(int device);
  DeviceScope(DeviceScope&& other) noexcept;
  DeviceScope& operator=(DeviceScope&&) = delete;
  ~DeviceScope();

 private:
  DeviceScope(int previous, bool has_changed) : previous_(previous), has_changed_(has_changed) {}
  int previous_;
  bool has_changed_;
};

/// Where memory is, as seen from a GPU.
enum class MemoryKind { kDevice, kOtherDevice, kPinned, kUnpinned };
Result<MemoryKind> memory_kind(const void* address, int device);

/// The GPU that memory belongs to; of pinned memory the current one. A fault, naming it `what`, where none can read it.
Result<int> device_of(const void* address, const char* what);

}  // namespace stillbit::cuda
