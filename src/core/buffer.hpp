#pragma once

#include "core/bytes.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace stillbit {

/// Owned bytes, aligned to a page so that rows stay aligned in it and never set before they are written.
///
/// `kSlack` bytes behind the end are readable, so that kernels may read whole words at the end of the last row.
class Buffer {
 public:
  static constexpr std::size_t kAlignment = 4096;
  static constexpr std::size_t kSlack = 64;

  Buffer() = default;
  explicit Buffer(std::size_t size) : bytes_(allocate(size)), size_(size), capacity_(size) {}

  [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Bytes view() const noexcept { return {bytes_.get(), size_}; }
  [[nodiscard]] MutableBytes span() noexcept { return {bytes_.get(), size_}; }

  /// Makes room for `capacity` bytes; what was there stays. Growing up to it can then not fail.
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    auto grown = allocate(capacity);
    if (size_ > 0) std::memcpy(grown.get(), bytes_.get(), size_);
    bytes_ = std::move(grown);
    capacity_ = capacity;
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
    const std::size_t padded = (size + kSlack + kAlignment - 1) / kAlignment * kAlignment;
    if (padded < size) throw std::bad_alloc();
    Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, padded)));
    if (!memory) throw std::bad_alloc();
    std::memset(memory.get() + size, 0, padded - size);
    return memory;
  }

  Memory bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace stillbit
