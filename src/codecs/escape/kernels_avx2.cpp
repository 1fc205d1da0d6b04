#include "codecs/escape/kernels.hpp"

#include "codecs/escape/lane.hpp"

#include <immintrin.h>

// Compiled for AVX2 and BMI2; reached only on machines that have them.

namespace stillbit::escape::avx2 {
namespace {

/// One byte for each of eight codes, all of the same width.
inline std::uint64_t code_bytes(unsigned width) {
  return low_mask(width) * 0x0101010101010101U;
}
inline std::uint64_t spread_group(std::uint64_t group, unsigned width) {
  return _pdep_u64(group, code_bytes(width));
}
inline std::uint64_t join_group(std::uint64_t bytes, unsigned width) {
  return _pext_u64(bytes, code_bytes(width));
}

#include "codecs/escape/stages.inl"

/// As in stages.inl, 32 codes at a time.
inline std::uint64_t decode_tier(const RowLayout& layout, unsigned tier, const std::byte* codes, std::uint64_t count,
                                 std::uint8_t* symbols, std::uint64_t* escapes) {
  alignas(16) std::uint8_t table[1U << kMaxTierBits];
  for (unsigned i = 0; i < 1U << kMaxTierBits; ++i)
    table[i] = static_cast<std::uint8_t>(layout.symbol_of_code[tier][i]);
  const __m256i symbol_of_code = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  const unsigned width = layout.tier_bits[tier];
  const std::uint64_t spread = code_bytes(width);
  std::uint64_t num_escapes = 0;
  const auto look_up = [&](std::uint8_t* dst) {
    const auto group = [&] {
      const auto bytes = static_cast<long long>(_pdep_u64(load<std::uint32_t>(codes), spread));
      codes += width;
      return bytes;
    };
    const long long first = group();
    const long long second = group();
    const long long third = group();
    const __m256i bytes = _mm256_set_epi64x(group(), third, second, first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_shuffle_epi8(symbol_of_code, bytes));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
  };
  for (std::uint64_t first = 0; first < count; first += 64) {
    std::uint64_t found = look_up(symbols + first);
    if (count - first > 32) found |= std::uint64_t{look_up(symbols + first + 32)} << 32;
    if (count - first < 64) found &= low_mask(static_cast<unsigned>(count - first));
    *escapes++ = found;
    num_escapes += static_cast<unsigned>(__builtin_popcountll(found));
  }
  return num_escapes;
}

#include "codecs/escape/kernels.inl"

}  // namespace

extern const Kernels kKernels[4];
const Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                             kKernelsFor<std::uint64_t>};

}  // namespace stillbit::escape::avx2
