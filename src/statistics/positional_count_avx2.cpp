#include "statistics/positional_count.hpp"

// Compiled for AVX2; reached only on machines that have it.

namespace stillbit::avx2 {
void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes);
#include "statistics/positional_count.inl"
}  // namespace stillbit::avx2
