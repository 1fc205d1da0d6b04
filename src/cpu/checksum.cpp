#include "cpu/checksum.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>

namespace stillbit::cpu {

#if defined(__x86_64__)
namespace avx2 {
std::uint64_t digest(const void* data, std::size_t size);
}
namespace avx512 {
std::uint64_t digest(const void* data, std::size_t size);
}
#endif

std::uint64_t digest(Bytes bytes, [[maybe_unused]] Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::digest(bytes.data(), bytes.size());
  if (isa == Isa::kAvx2) return avx2::digest(bytes.data(), bytes.size());
#endif
  return stillbit::digest(bytes);
}

std::uint64_t checksum(Bytes bytes, unsigned num_threads) {
  Checksum checksum;
  unwrap(parallel_for(ceil_div(bytes.size(), kChecksumPieceBytes), num_threads,
                      [&](std::uint64_t piece, unsigned) -> Result<void> {
                        const std::uint64_t begin = piece * kChecksumPieceBytes;
                        const std::uint64_t count = std::min(kChecksumPieceBytes, bytes.size() - begin);
                        checksum.add(piece, digest(bytes.subspan(begin, count)));
                        return {};
                      }));
  return checksum.value();
}

}  // namespace stillbit::cpu
