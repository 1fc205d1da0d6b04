#include "statistics/positional_count.hpp"

#include "cpu/isa.hpp"

namespace stillbit {
namespace portable {
#include "statistics/positional_count_kernel.inl"
}

#if defined(__x86_64__)
namespace avx2 {
void count_positions(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones);
}
#endif

void count_positions(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones) {
#if defined(__x86_64__)
  if (cpu::active_isa() == cpu::Isa::kAvx2) return avx2::count_positions(rows, num_rows, row_bytes, ones);
#endif
  portable::count_positions(rows, num_rows, row_bytes, ones);
}

}  // namespace stillbit
