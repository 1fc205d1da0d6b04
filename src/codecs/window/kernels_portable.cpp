#include "codecs/window/kernels.hpp"

#include <bit>
#include <type_traits>

namespace stillbit::window {
namespace portable {
namespace {

#include "fields/rows.inl"

#include "fields/writer.inl"

#include "fields/plane.inl"

#include "codecs/window/layout.inl"

#include "codecs/window/stages.inl"

#include "codecs/window/requests.inl"

#include "codecs/window/fields_portable.inl"

using RowsInCaches = RowCursor<false>;
using RowsPastCaches = RowCursor<false>;  // there are no such stores
inline void finish_stores() {}

template <class Word, bool kIsSigned>
inline bool join_row(const RowLayout& layout, const std::byte* src, std::uint64_t num_exception_bytes, bool,
                     RowsInCaches& out) {
  std::byte* const dst = out.next;
  out.next += layout.row_bytes;
  return join_chunks<Word, kIsSigned>(layout, src, num_exception_bytes, dst);
}

#include "codecs/window/kernels.inl"

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

}  // namespace stillbit::window
