#include "cpu/copy.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstring>

namespace stillbit::cpu {

#if defined(__SSE2__)

void copy_past_caches(Bytes bytes, std::byte* dst) noexcept {
  constexpr std::size_t kLineBytes = 64;
  const std::size_t head = std::min(bytes.size(), -reinterpret_cast<std::uintptr_t>(dst) % kLineBytes);
  std::memcpy(dst, bytes.data(), head);
  const std::byte* src = bytes.data() + head;
  std::size_t left = bytes.size() - head;
  dst += head;
  for (; left >= kLineBytes; left -= kLineBytes, src += kLineBytes, dst += kLineBytes) {
    const auto* from = reinterpret_cast<const __m128i*>(src);
    auto* to = reinterpret_cast<__m128i*>(dst);
    const __m128i part[4] = {_mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2),
                             _mm_loadu_si128(from + 3)};
    for (unsigned i = 0; i < 4; ++i) _mm_stream_si128(to + i, part[i]);
  }
  std::memcpy(dst, src, left);
}

void finish_copies() noexcept {
  _mm_sfence();
}

#else

void copy_past_caches(Bytes bytes, std::byte* dst) noexcept {
  std::memcpy(dst, bytes.data(), bytes.size());
}

void finish_copies() noexcept {}

#endif

}  // namespace stillbit::cpu
