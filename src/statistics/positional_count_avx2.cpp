#include "statistics/positional_count.hpp"

namespace stillbit::avx2 {
#include "statistics/positional_count_kernel.inl"
}
