#include "statistics/positional_count.hpp"

namespace stillbit {
namespace portable {
namespace {
#include "statistics/positional_count.inl"
}
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes);
}
#endif

void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes,
                   [[maybe_unused]] cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa >= cpu::Isa::kAvx2) return avx2::add_to_planes(rows, num_rows, row_bytes, planes);
#endif
  portable::add_to_planes(rows, num_rows, row_bytes, planes);
}

}  // namespace stillbit
