#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace stillbit::testing {

/// A CUDA runtime without a GPU, for tests of what the host does: its functions are defined in fake_runtime.cpp. What
/// goes to a stream is done later, on this thread, in any order that streams and events allow.
struct FakeRuntime {
  /// When work on a stream is done.
  enum class Pace {
    kLate,  ///< when it is waited for
    kSoon,  ///< as soon as what it waits for is done; on `slow_stream` when it is waited for
  };

  int driver_version = 13000;
  int num_devices = 1;
  int num_sms = 132;
  int shared_bytes_per_block = 227 * 1024;
  bool can_pin_read_only = true;
  Pace pace = Pace::kLate;
  cudaStream_t slow_stream = nullptr;
  std::uint64_t max_device_bytes = std::uint64_t{1} << 40;        ///< of one allocation
  std::uint64_t max_host_alloc_bytes = std::uint64_t{1} << 40;    ///< of one cudaHostAlloc
  std::uint64_t max_registered_bytes = std::uint64_t{1} << 40;    ///< of all cudaHostRegister
  std::uint64_t max_registration_bytes = std::uint64_t{1} << 40;  ///< of one
  std::set<std::string> failing;                                  ///< functions that fail, by name

  // What there is.
  int current_device = 0;
  std::uint64_t num_allocations = 0;  ///< live, of device and host memory
  std::uint64_t registered_bytes = 0;
  std::uint64_t num_registrations = 0;
  std::uint64_t num_streams = 0;
  std::uint64_t num_events = 0;
  std::uint64_t num_enqueued = 0;         ///< work that stands for kernels
  std::set<int> devices_of_work;          ///< that were current when it was put on a stream
  std::uint64_t num_calls_that_wait = 0;  ///< synchronisations, and calls that allocate or free

  static FakeRuntime& get();
  /// As new, with the work that is left forgotten.
  static void reset();

  /// Puts work on a stream, as a kernel's launch does.
  static void enqueue(cudaStream_t stream, std::function<void()> work);
};

}  // namespace stillbit::testing
