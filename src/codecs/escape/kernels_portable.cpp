#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <bit>

namespace stillbit::escape {
namespace portable {
namespace {

#include "codecs/escape/requests.inl"

#include "fields/writer.inl"

#include "fields/plane.inl"

#include "codecs/escape/stages.inl"

#include "codecs/escape/fields.inl"

template <class Word>
constexpr bool kDecodesGroups = false;

inline void finish_stores() {}

/// There are no stores that pass the caches.
template <class Word, bool kPastCaches>
inline bool put_row(const RowLayout& layout, const StoredRow& row, SymbolOf<Word> shift, SymbolOf<Word>* symbols,
                    const std::uint64_t* escapes, std::uint64_t, const SymbolOf<Word>* next, std::byte* dst) {
  end_first_tier<Word>(layout, row.data, shift, symbols, escapes, next, dst);
  return true;
}

#include "codecs/escape/kernels.inl"

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

}  // namespace stillbit::escape
