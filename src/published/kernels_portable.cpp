#include "published/kernels.hpp"

#include "codecs/ibp/lane.hpp"
#include "core/bytes.hpp"

#include <bit>

namespace stillbit::published {
namespace portable {
namespace {

using ibp::deposit_bits;
using ibp::extract_bits;

inline std::uint64_t reverse_quarters(std::uint64_t word) {
  constexpr std::uint64_t kEven = 0x0000FFFF0000FFFF;
  return std::rotl((word & kEven) << 16 | (word >> 16 & kEven), 32);
}

#include "published/kernels.inl"

}  // namespace

const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels[4];
}
#endif

const Kernels& kernels(unsigned word_bytes, [[maybe_unused]] cpu::Isa isa) noexcept {
  const int i = std::countr_zero(word_bytes) & 3;
#if defined(__x86_64__)
  if (isa >= cpu::Isa::kAvx2) return avx2::kKernels[i];
#endif
  return portable::kKernels[i];
}

}  // namespace stillbit::published
