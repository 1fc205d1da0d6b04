#include "cpu/pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace stillbit::cpu {

void request_pages([[maybe_unused]] std::span<std::byte> memory) noexcept {
#ifdef MADV_POPULATE_WRITE
  constexpr std::size_t kFewestPages = 8;  // fewer are not worth the call
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(memory.data()) + memory.size();
  // Where a system before Linux 5.14 refuses, pages come as they are touched.
  if (end - begin >= kFewestPages * page) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE);
#endif
}

void prefer_large_pages([[maybe_unused]] std::span<std::byte> memory) noexcept {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t kLargePage = std::uintptr_t{2} << 20;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory.data()) + kLargePage - 1) / kLargePage * kLargePage;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory.data()) + memory.size()) / kLargePage * kLargePage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace stillbit::cpu
