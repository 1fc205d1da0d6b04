#include "codecs/ibp/kernels.hpp"

#include "codecs/ibp/lane.hpp"

#include <bit>

namespace stillbit::ibp {
namespace portable {
namespace {

template <class Word, class VectorOfWord>
inline std::uint64_t agree_bits(VectorOfWord differences) {
  std::uint64_t bits = 0;
  for (unsigned lane = 0; lane < sizeof(VectorOfWord) / sizeof(Word); ++lane) {
    bits |= std::uint64_t{differences[lane] == 0} << lane;
  }
  return bits;
}

constexpr bool kWantsMoves = true;

#include "codecs/ibp/kernels.inl"

#include "codecs/ibp/free_bits_portable.inl"

}  // namespace

const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels[4];
}
#endif

const Kernels& kernels(unsigned view_bytes, [[maybe_unused]] cpu::Isa isa) noexcept {
  const int i = std::countr_zero(view_bytes) & 3;
#if defined(__x86_64__)
  if (isa >= cpu::Isa::kAvx2) return avx2::kKernels[i];
#endif
  return portable::kKernels[i];
}

}  // namespace stillbit::ibp
