#include "cuda/device.hpp"

#include "cuda/status.hpp"

#include <string>
#include <utility>

namespace stillbit::cuda {
namespace {

/// "13.0" of 13000.
std::string cuda_version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace

Result<int> count_devices() {
  int version = 0;
  // Succeeds with 0 where there is no driver, which other calls cannot tell from one that is too old.
  STILLBIT_CUDA(cudaDriverGetVersion(&version));
  if (version == 0) return Fault{ErrorCode::kDevice, "no GPU: no NVIDIA driver is installed"};
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    (void)cudaGetLastError();
    return Fault{ErrorCode::kDevice, "no GPU: the NVIDIA driver is too old: it is of CUDA " + cuda_version(version) +
                                         ", and this build of CUDA " + cuda_version(CUDART_VERSION)};
  }
  if (error != cudaErrorNoDevice) STILLBIT_CHECK(check(error, "cudaGetDeviceCount"));
  if (count == 0) {
    (void)cudaGetLastError();
    return Fault{ErrorCode::kDevice, "no GPU: the driver finds none"};
  }
  return count;
}

Result<int> current_device() {
  int device = 0;
  STILLBIT_CUDA(cudaGetDevice(&device));
  return device;
}

Result<DeviceLimits> limits_of(int device) {
  int num_sms = 0;
  int shared_bytes = 0;
  STILLBIT_CUDA(cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, device));
  STILLBIT_CUDA(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return DeviceLimits{static_cast<std::uint32_t>(num_sms), static_cast<std::uint32_t>(shared_bytes)};
}

Result<DeviceScope> DeviceScope::enter(int device) {
  STILLBIT_TRY(const int previous, current_device());
  if (previous != device) STILLBIT_CUDA(cudaSetDevice(device));
  return DeviceScope(previous, previous != device);
}

DeviceScope::DeviceScope(DeviceScope&& other) noexcept
    : previous_(other.previous_), has_changed_(std::exchange(other.has_changed_, false)) {}

DeviceScope::~DeviceScope() {
  if (has_changed_) (void)cudaSetDevice(previous_);
}

Result<int> device_of(const void* address, const char* what) {
  cudaPointerAttributes attributes{};
  STILLBIT_CUDA(cudaPointerGetAttributes(&attributes, address));
  if (attributes.type == cudaMemoryTypeDevice) return attributes.device;
  if (attributes.type == cudaMemoryTypeUnregistered)
    return invalid(std::string(what) + " is in host memory that is not pinned");
  return current_device();
}

Result<MemoryKind> memory_kind(const void* address, int device) {
  cudaPointerAttributes attributes{};
  STILLBIT_CUDA(cudaPointerGetAttributes(&attributes, address));
  switch (attributes.type) {
    case cudaMemoryTypeDevice:
      return attributes.device == device ? MemoryKind::kDevice : MemoryKind::kOtherDevice;
    case cudaMemoryTypeManaged:
      return MemoryKind::kDevice;
    case cudaMemoryTypeHost:
      return MemoryKind::kPinned;
    default:
      return MemoryKind::kUnpinned;
  }
}

}  // namespace stillbit::cuda
