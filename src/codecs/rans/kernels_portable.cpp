#include "codecs/rans/kernels.hpp"

#include "codecs/rans/lane.hpp"

#include <bit>

namespace stillbit::rans {
namespace portable {
namespace {

#include "fields/writer.inl"

#include "fields/plane.inl"

#include "codecs/rans/stages.inl"

#include "codecs/rans/fields.inl"

using StreamReader = PortableReader;

#include "codecs/rans/kernels.inl"

}  // namespace

const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels[4];
}
namespace avx512 {
extern const Kernels kKernels[4];
}
#endif

const Kernels& kernels(unsigned view_bytes, [[maybe_unused]] cpu::Isa isa) noexcept {
  const int i = std::countr_zero(view_bytes) & 3;
#if defined(__x86_64__)
  if (isa == cpu::Isa::kAvx512) return avx512::kKernels[i];
  if (isa == cpu::Isa::kAvx2) return avx2::kKernels[i];
#endif
  return portable::kKernels[i];
}

}  // namespace stillbit::rans
