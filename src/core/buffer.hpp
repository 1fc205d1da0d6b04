#pragma once

#include "core/bytes.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace stillbit {

/// Owned bytes, aligned to a page so that rows stay aligned in them, and not set before they are written. Large ones
/// ask for huge pages: fewer faults when they are first written, fewer misses when rows are gathered.
///
/// `kSlack` bytes behind the end are readable, so that kernels may read whole words at the end of the last row.
class Buffer {
 public:
  static constexpr std::size_t kPageBytes = 4096;
  static constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
  static constexpr std::size_t kSlack = 64;

  Buffer() = default;
  explicit Buffer(std::size_t size) : bytes_(allocate(size)), size_(size), capacity_(size) {}

  [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Up to this size it grows without new memory.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] Bytes view() const noexcept { return {bytes_.get(), size_}; }
  /// Bytes behind the last one that may be read.
  [[nodiscard]] std::size_t slack() const noexcept { return bytes_ ? kSlack : 0; }

  /// Makes room for `capacity` bytes; what was there stays. Growing up to it can then not fail.
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    auto grown = allocate(capacity);
    if (size_ > 0) std::memcpy(grown.get(), bytes_.get(), size_);
    bytes_ = std::move(grown);
    capacity_ = capacity;
  }

  /// Takes this size; what was there is lost. Keeps its memory where it is large enough and not twice as large. Returns
  /// whether the memory is new.
  bool renew(std::size_t size) {
    const bool is_new = size > capacity_ || size < capacity_ / 2;
    if (is_new) *this = Buffer(size);
    size_ = size;
    return is_new;
  }

  /// Grows or shrinks; what was there stays, what is new is not set. Grows by half so that appending is linear.
  void resize(std::size_t size) {
    if (size > capacity_) reserve(std::max(size, capacity_ + capacity_ / 2));
    size_ = size;
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
  };
  using Memory = std::unique_ptr<std::byte, Free>;

  static Memory allocate(std::size_t size) {
    const std::size_t alignment = size >= 2 * kHugePageBytes ? kHugePageBytes : kPageBytes;
    const std::size_t padded = (size + kSlack + kPageBytes - 1) / kPageBytes * kPageBytes;
    if (padded < size) throw std::bad_alloc();
    void* address = nullptr;
    if (::posix_memalign(&address, alignment, padded) != 0) throw std::bad_alloc();
    Memory memory(static_cast<std::byte*>(address));
    if (alignment == kHugePageBytes) ::madvise(address, padded, MADV_HUGEPAGE);
    std::memset(memory.get() + size, 0, padded - size);
    return memory;
  }

  Memory bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace stillbit
