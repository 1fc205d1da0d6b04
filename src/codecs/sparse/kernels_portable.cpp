#include "codecs/sparse/kernels.hpp"

#include <bit>

namespace stillbit::sparse {
namespace portable {
namespace {

constexpr unsigned kVectorBytes = 16;

template <class Word, class VectorOfWord>
inline std::uint64_t differ_bits(VectorOfWord a, VectorOfWord b) {
  // Nearly all vectors are nothing but background.
  typedef std::uint64_t Halves __attribute__((vector_size(kVectorBytes)));
  const auto difference = (Halves)(a ^ b);
  if ((difference[0] | difference[1]) == 0) return 0;
  std::uint64_t bits = 0;
  for (unsigned lane = 0; lane < kVectorBytes / sizeof(Word); ++lane) {
    bits |= std::uint64_t{a[lane] != b[lane]} << lane;
  }
  return bits;
}

inline unsigned select_bit(std::uint64_t word, unsigned rank) {
  unsigned place = 0;
  for (unsigned width = 32; width > 0; width /= 2) {
    const auto below = static_cast<unsigned>(__builtin_popcountll(word & ((std::uint64_t{1} << width) - 1)));
    if (rank < below) continue;
    rank -= below;
    word >>= width;
    place += width;
  }
  return place;
}

#include "codecs/sparse/values.inl"

#include "codecs/sparse/elements.inl"

template <class Word, class Values>
inline bool expand(const RowLayout& layout, const Values& values, const std::byte* src, std::uint64_t upper_bits,
                   std::byte* dst) {
  return expand_one_by_one<Word>(layout, values, src, upper_bits, dst);
}

#include "codecs/sparse/kernels.inl"

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
  if (isa >= cpu::Isa::kAvx512) return avx512::kKernels[i];
  if (isa >= cpu::Isa::kAvx2) return avx2::kKernels[i];
#endif
  return portable::kKernels[i];
}

}  // namespace stillbit::sparse
