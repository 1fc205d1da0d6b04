#pragma once

#include "core/bytes.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>

namespace stillbit::tiers {

/// Bytes that budgets count to the last one, not set before they are written. Large ones ask for huge pages: rows are
/// read from them in no order.
class SlotMemory {
 public:
  explicit SlotMemory(std::size_t size) {
    constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
    const bool is_large = size >= 2 * kHugePageBytes;
    void* address = nullptr;
    if (::posix_memalign(&address, is_large ? kHugePageBytes : 64, size) != 0) throw std::bad_alloc();
    if (is_large) ::madvise(address, size, MADV_HUGEPAGE);
    bytes_.reset(static_cast<std::byte*>(address));
  }

  [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.get(); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

/// The largest number of slots, at most `most`, for which `bytes_for(number)` is within the budget.
template <class BytesFor>
[[nodiscard]] std::uint64_t slots_within(std::uint64_t budget, std::uint64_t most, const BytesFor& bytes_for) {
  std::uint64_t low = 0;
  while (low < most) {
    const std::uint64_t middle = most - (most - low) / 2;
    if (bytes_for(middle) <= budget) {
      low = middle;
    } else {
      most = middle - 1;
    }
  }
  return low;
}

}  // namespace stillbit::tiers
