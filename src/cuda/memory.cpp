#include "cuda/memory.hpp"

#include "cuda/numa.hpp"
#include "cuda/status.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace stillbit::cuda {
namespace {

/// Readable behind what was asked for: kernels read whole words.
constexpr std::uint64_t kSlackBytes = 128;

/// Registered at once: some systems refuse to pin very large ranges in one call, and some less than that.
constexpr std::uint64_t kMaxPinnedBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMinPinnedBytes = std::uint64_t{1} << 20;

std::uint64_t page_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void unpin_pieces(std::byte* pages, std::uint64_t size, std::uint64_t piece_bytes) {
  for (std::uint64_t at = 0; at < size; at += piece_bytes) (void)cudaHostUnregister(pages + at);
}

/// Pins whole pages, `piece_bytes` at a time; all of them or none, and then `num_pinned` is how many bytes could be.
cudaError_t pin_pieces_of(std::byte* pages, std::uint64_t size, std::uint64_t piece_bytes, unsigned flags,
                          std::uint64_t& num_pinned) {
  for (num_pinned = 0; num_pinned < size; num_pinned += piece_bytes) {
    const cudaError_t error = cudaHostRegister(pages + num_pinned, std::min(piece_bytes, size - num_pinned), flags);
    if (error == cudaSuccess) continue;
    (void)cudaGetLastError();
    unpin_pieces(pages, num_pinned, piece_bytes);
    return error;
  }
  return cudaSuccess;
}

/// Pins whole pages, in pieces as large as they may be. Returns the size of these.
Result<std::uint64_t> pin_pieces(std::byte* pages, std::uint64_t size, unsigned flags) {
  for (std::uint64_t piece_bytes = kMaxPinnedBytes;; piece_bytes /= 2) {
    std::uint64_t num_pinned = 0;
    const cudaError_t error = pin_pieces_of(pages, size, piece_bytes, flags, num_pinned);
    if (error == cudaSuccess) return piece_bytes;
    // Smaller pieces help where the first one is too large, and not where there is no room for all.
    const bool is_too_large = error == cudaErrorMemoryAllocation && num_pinned == 0;
    if (is_too_large && piece_bytes > kMinPinnedBytes) continue;
    Fault fault = cuda_fault(error, "cudaHostRegister");
    fault.message += "; " + std::to_string(size) + " bytes were to be pinned: is `ulimit -l` too low?";
    return fault;
  }
}

}  // namespace

Result<DeviceMemory> DeviceMemory::allocate(std::uint64_t size) {
  DeviceMemory memory;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, size + kSlackBytes);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return cuda_fault(error, "cudaMalloc of " + std::to_string(size) + " bytes");
  }
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_ = size;
  STILLBIT_CUDA(cudaMemset(memory.data_ + size, 0, kSlackBytes));
  return memory;
}

Result<DeviceMemory> DeviceMemory::holding(Bytes bytes, std::uint64_t capacity) {
  STILLBIT_TRY(DeviceMemory memory, allocate(std::max<std::uint64_t>(bytes.size(), capacity)));
  if (!bytes.empty()) STILLBIT_CUDA(cudaMemcpy(memory.data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
  return memory;
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) (void)cudaFree(data_);
}

Result<PinnedMemory> PinnedMemory::allocate(std::uint64_t size) {
  const NearNode near(node_of_current_device());
  PinnedMemory memory;
  memory.size_ = size;
  void* data = nullptr;
  if (cudaHostAlloc(&data, size + kSlackBytes, cudaHostAllocPortable | cudaHostAllocMapped) == cudaSuccess) {
    memory.origin_ = Origin::kCuda;
    memory.data_ = static_cast<std::byte*>(data);
    return memory;
  }
  (void)cudaGetLastError();
  const std::uint64_t pages_bytes = (size + kSlackBytes + page_bytes() - 1) / page_bytes() * page_bytes();
  void* const pages = ::mmap(nullptr, pages_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    return Fault{ErrorCode::kDevice, "pinned memory: the system has no " + std::to_string(size) + " bytes"};
  }
  const auto pinned =
      pin_pieces(static_cast<std::byte*>(pages), pages_bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
  if (!pinned.ok()) {
    ::munmap(pages, pages_bytes);
    return pinned.fault();
  }
  memory.piece_bytes_ = pinned.value();
  memory.origin_ = Origin::kMapped;
  memory.data_ = memory.pages_ = static_cast<std::byte*>(pages);
  memory.pages_bytes_ = pages_bytes;
  return memory;
}

Result<PinnedMemory> PinnedMemory::pin(Bytes bytes) {
  PinnedMemory memory;
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t first = address / page_bytes() * page_bytes();
  const std::uintptr_t end = (address + bytes.size() + page_bytes() - 1) / page_bytes() * page_bytes();
  auto* const pages = reinterpret_cast<std::byte*>(first);
  int can_pin_read_only = 0;
  STILLBIT_TRY(const int device, []() -> Result<int> {
    int current = 0;
    STILLBIT_CUDA(cudaGetDevice(&current));
    return current;
  }());
  STILLBIT_CUDA(cudaDeviceGetAttribute(&can_pin_read_only, cudaDevAttrHostRegisterReadOnlySupported, device));
  // A mapped file's pages cannot be written: without this flag they cannot be pinned.
  const unsigned read_only = can_pin_read_only != 0 ? cudaHostRegisterReadOnly : 0U;
  STILLBIT_TRY(memory.piece_bytes_,
               pin_pieces(pages, end - first, cudaHostRegisterPortable | cudaHostRegisterMapped | read_only));
  memory.origin_ = Origin::kForeign;
  memory.data_ = reinterpret_cast<std::byte*>(address);
  memory.size_ = bytes.size();
  memory.pages_ = pages;
  memory.pages_bytes_ = end - first;
  return memory;
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : origin_(std::exchange(other.origin_, Origin::kNone)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      pages_(std::exchange(other.pages_, nullptr)),
      pages_bytes_(std::exchange(other.pages_bytes_, 0)),
      piece_bytes_(std::exchange(other.piece_bytes_, 0)) {}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(origin_, other.origin_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(pages_, other.pages_);
  std::swap(pages_bytes_, other.pages_bytes_);
  std::swap(piece_bytes_, other.piece_bytes_);
  return *this;
}

void PinnedMemory::release() noexcept {
  if (origin_ == Origin::kCuda) (void)cudaFreeHost(data_);
  if (origin_ == Origin::kMapped || origin_ == Origin::kForeign) unpin_pieces(pages_, pages_bytes_, piece_bytes_);
  if (origin_ == Origin::kMapped) ::munmap(pages_, pages_bytes_);
}

PinnedMemory::~PinnedMemory() {
  release();
}

std::uint64_t PinnedMemory::pinned_together(const std::byte* at, std::uint64_t size) const noexcept {
  if (piece_bytes_ == 0) return size;
  const auto offset = static_cast<std::uint64_t>(at - pages_);
  return std::min(size, piece_bytes_ - offset % piece_bytes_);
}

Result<void> copy_async(void* dst, const PinnedMemory& memory, const std::byte* src, std::uint64_t size,
                        cudaMemcpyKind kind, cudaStream_t stream) {
  for (std::uint64_t at = 0; at < size;) {
    const std::uint64_t part = memory.pinned_together(src + at, size - at);
    STILLBIT_CUDA(cudaMemcpyAsync(static_cast<std::byte*>(dst) + at, src + at, part, kind, stream));
    at += part;
  }
  return {};
}

}  // namespace stillbit::cuda
