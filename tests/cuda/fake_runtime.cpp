#include "tests/cuda/fake_runtime.hpp"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>

using stillbit::testing::FakeRuntime;

namespace {

/// Something on a stream that is not done before `is_ready`, if it has that.
struct Operation {
  std::function<bool()> is_ready;
  std::function<void()> run;
};

struct Stream {
  std::deque<Operation> operations;
};

struct Event {
  std::uint64_t num_recorded = 0;
  std::uint64_t num_reached = 0;
};

enum class Kind { kDevice, kHost };

struct Allocation {
  std::uint64_t size = 0;
  Kind kind = Kind::kDevice;
  int device = 0;
};

struct State {
  FakeRuntime runtime;
  Stream default_stream;
  std::set<Stream*> streams;
  std::map<Event*, std::shared_ptr<Event>> events;
  std::map<const std::byte*, Allocation> allocations;
  std::map<const std::byte*, std::uint64_t> registrations;
  cudaError_t last_error = cudaSuccess;
};

State& state() {
  static State only;
  return only;
}

Stream* stream_of(cudaStream_t stream) {
  return stream == nullptr ? &state().default_stream : reinterpret_cast<Stream*>(stream);
}

/// Work on streams keeps the events alive that it needs.
std::shared_ptr<Event> event_of(cudaEvent_t event) {
  return state().events.at(reinterpret_cast<Event*>(event));
}

bool step(Stream& stream) {
  if (stream.operations.empty()) return false;
  Operation& next = stream.operations.front();
  if (next.is_ready && !next.is_ready()) return false;
  const Operation operation = std::move(next);
  stream.operations.pop_front();
  if (operation.run) operation.run();
  return true;
}

/// Does what can be done on all streams but one.
void advance_others(const Stream* one) {
  for (bool has_advanced = true; has_advanced;) {
    has_advanced = one != &state().default_stream && step(state().default_stream);
    for (Stream* stream : state().streams) has_advanced |= stream != one && step(*stream);
  }
}

void finish(Stream& stream) {
  while (!stream.operations.empty()) {
    if (step(stream)) continue;
    // It waits for another stream: which does one thing, and no more.
    bool has_advanced = &stream != &state().default_stream && step(state().default_stream);
    for (Stream* other : state().streams) {
      if (!has_advanced && other != &stream) has_advanced = step(*other);
    }
    if (!has_advanced) std::abort();  // a deadlock
  }
}

void put(cudaStream_t stream, Operation operation) {
  stream_of(stream)->operations.push_back(std::move(operation));
  if (state().runtime.pace == FakeRuntime::Pace::kSoon) advance_others(stream_of(state().runtime.slow_stream));
}

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) state().last_error = error;
  return error;
}

/// The error that a function is to return.
cudaError_t outcome(const char* function, cudaError_t error) {
  return state().runtime.failing.count(function) != 0 ? result(error) : cudaSuccess;
}

cudaError_t allocate(void** data, std::uint64_t size, std::uint64_t most, Kind kind) {
  ++state().runtime.num_calls_that_wait;
  if (size > most) return result(cudaErrorMemoryAllocation);
  // No more than was asked for: the sanitizer sees what is read behind it.
  *data = std::aligned_alloc(256, (size + 255) / 256 * 256);
  std::memset(*data, 0xCD, (size + 255) / 256 * 256);
  state().allocations[static_cast<std::byte*>(*data)] = {size, kind, state().runtime.current_device};
  ++state().runtime.num_allocations;
  return cudaSuccess;
}

cudaError_t release(void* data) {
  ++state().runtime.num_calls_that_wait;
  finish(state().default_stream);
  for (Stream* stream : state().streams) finish(*stream);
  if (data == nullptr) return cudaSuccess;
  if (state().allocations.erase(static_cast<std::byte*>(data)) == 0) return result(cudaErrorInvalidValue);
  --state().runtime.num_allocations;
  std::free(data);
  return cudaSuccess;
}

template <class Map>
auto containing(const Map& map, const void* address) {
  auto found = map.upper_bound(static_cast<const std::byte*>(address));
  return found == map.begin() ? map.end() : --found;
}

}  // namespace

namespace stillbit::testing {

FakeRuntime& FakeRuntime::get() {
  return state().runtime;
}

void FakeRuntime::reset() {
  state().runtime = FakeRuntime();
  state().default_stream.operations.clear();
  state().last_error = cudaSuccess;
}

void FakeRuntime::enqueue(cudaStream_t stream, std::function<void()> work) {
  ++state().runtime.num_enqueued;
  state().runtime.devices_of_work.insert(state().runtime.current_device);
  put(stream, {nullptr, std::move(work)});
}

}  // namespace stillbit::testing

extern "C" {

cudaError_t cudaGetLastError() {
  return std::exchange(state().last_error, cudaSuccess);
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorOfAFake";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "a fake's error";
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = state().runtime.driver_version;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  if (state().runtime.num_devices == 0) return result(cudaErrorNoDevice);
  *count = state().runtime.num_devices;
  return outcome("cudaGetDeviceCount", cudaErrorInsufficientDriver);
}
cudaError_t cudaGetDevice(int* device) {
  *device = state().runtime.current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  state().runtime.current_device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const FakeRuntime& runtime = state().runtime;
  *value = attribute == cudaDevAttrMultiProcessorCount            ? runtime.num_sms
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? runtime.shared_bytes_per_block
                                                                  : static_cast<int>(runtime.can_pin_read_only);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char*, int, int) {
  return result(cudaErrorInvalidValue);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  *attributes = {};
  attributes->type = cudaMemoryTypeUnregistered;
  const auto* const at = static_cast<const std::byte*>(address);
  if (const auto found = containing(state().allocations, address);
      found != state().allocations.end() && at < found->first + found->second.size) {
    attributes->type = found->second.kind == Kind::kDevice ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    attributes->device = found->second.device;
  }
  if (const auto found = containing(state().registrations, address);
      found != state().registrations.end() && at < found->first + found->second)
    attributes->type = cudaMemoryTypeHost;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, std::size_t size) {
  return allocate(data, size, state().runtime.max_device_bytes, Kind::kDevice);
}
cudaError_t cudaFree(void* data) {
  return release(data);
}
cudaError_t cudaHostAlloc(void** data, std::size_t size, unsigned) {
  return allocate(data, size, state().runtime.max_host_alloc_bytes, Kind::kHost);
}
cudaError_t cudaFreeHost(void* data) {
  return release(data);
}
cudaError_t cudaHostRegister(void* data, std::size_t size, unsigned flags) {
  FakeRuntime& runtime = state().runtime;
  if ((flags & cudaHostRegisterReadOnly) != 0 && !runtime.can_pin_read_only) return result(cudaErrorNotSupported);
  if (runtime.registered_bytes + size > runtime.max_registered_bytes) return result(cudaErrorMemoryAllocation);
  if (size > runtime.max_registration_bytes) return result(cudaErrorMemoryAllocation);
  if (state().registrations.count(static_cast<std::byte*>(data)) != 0)
    return result(cudaErrorHostMemoryAlreadyRegistered);
  state().registrations[static_cast<std::byte*>(data)] = size;
  runtime.registered_bytes += size;
  ++runtime.num_registrations;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* data) {
  const auto found = state().registrations.find(static_cast<std::byte*>(data));
  if (found == state().registrations.end()) return result(cudaErrorHostMemoryNotRegistered);
  state().runtime.registered_bytes -= found->second;
  --state().runtime.num_registrations;
  state().registrations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* data, int value, std::size_t size) {
  std::memset(data, value, size);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t size, cudaStream_t stream) {
  put(stream, {nullptr, [=] { std::memset(data, value, size); }});
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* dst, const void* src, std::size_t size, cudaMemcpyKind) {
  std::memcpy(dst, src, size);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t size, cudaMemcpyKind, cudaStream_t stream) {
  // From memory that was pinned with one call into what was pinned with another: not promised to work.
  const auto* const end = static_cast<const std::byte*>(src) + size;
  if (const auto found = containing(state().registrations, src); found != state().registrations.end()) {
    const auto* const pinned_end = found->first + found->second;
    if (static_cast<const std::byte*>(src) < pinned_end && end > pinned_end) return result(cudaErrorInvalidValue);
  }
  if (size > 0) put(stream, {nullptr, [=] { std::memcpy(dst, src, size); }});
  return outcome("cudaMemcpyAsync", cudaErrorInvalidValue);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (const cudaError_t error = outcome("cudaStreamCreateWithFlags", cudaErrorMemoryAllocation)) return error;
  auto* const made = new Stream();
  state().streams.insert(made);
  ++state().runtime.num_streams;
  *stream = reinterpret_cast<cudaStream_t>(made);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  finish(*stream_of(stream));
  state().streams.erase(stream_of(stream));
  --state().runtime.num_streams;
  delete stream_of(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++state().runtime.num_calls_that_wait;
  finish(*stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::shared_ptr<Event> found = event_of(event);
  const std::uint64_t awaited = found->num_recorded;
  put(stream, {[=] { return found->num_reached >= awaited; }, nullptr});
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = outcome("cudaEventCreateWithFlags", cudaErrorMemoryAllocation)) return error;
  const auto made = std::make_shared<Event>();
  state().events[made.get()] = made;
  *event = reinterpret_cast<cudaEvent_t>(made.get());
  ++state().runtime.num_events;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  state().events.erase(reinterpret_cast<Event*>(event));
  --state().runtime.num_events;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::shared_ptr<Event> found = event_of(event);
  const std::uint64_t number = ++found->num_recorded;
  put(stream, {nullptr, [=] { found->num_reached = number; }});
  return cudaSuccess;
}

}  // extern "C"
