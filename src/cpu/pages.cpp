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

}  // namespace stillbit::cpu
