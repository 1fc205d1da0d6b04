#include "cpu/checksum.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/parallel.hpp"

#include <xxhash.h>

#include <algorithm>
#include <new>

namespace stillbit::cpu {

#if defined(__x86_64__)
namespace avx2 {
std::uint64_t digest(const void* data, std::size_t size);
void update(void* state, const void* data, std::size_t size);
}  // namespace avx2
namespace avx512 {
std::uint64_t digest(const void* data, std::size_t size);
void update(void* state, const void* data, std::size_t size);
}  // namespace avx512
#endif

std::uint64_t digest(Bytes bytes, [[maybe_unused]] Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::digest(bytes.data(), bytes.size());
  if (isa == Isa::kAvx2) return avx2::digest(bytes.data(), bytes.size());
#endif
  return stillbit::digest(bytes);
}

RunningDigest::RunningDigest(Isa isa) noexcept : isa_(isa) {
  static_assert(sizeof(XXH3_state_t) <= sizeof(state_) && alignof(XXH3_state_t) <= alignof(RunningDigest));
  XXH3_64bits_reset(new (state_) XXH3_state_t{});
}

void RunningDigest::add(Bytes bytes) noexcept {
  auto* state = std::launder(reinterpret_cast<XXH3_state_t*>(state_));
#if defined(__x86_64__)
  if (isa_ == Isa::kAvx512) return avx512::update(state, bytes.data(), bytes.size());
  if (isa_ == Isa::kAvx2) return avx2::update(state, bytes.data(), bytes.size());
#endif
  XXH3_64bits_update(state, bytes.data(), bytes.size());
}

std::uint64_t RunningDigest::value() const noexcept {
  return XXH3_64bits_digest(std::launder(reinterpret_cast<const XXH3_state_t*>(state_)));
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

void RunningChecksum::add(Bytes bytes, unsigned num_threads) {
  if (!rest_.empty()) {
    const std::uint64_t count = std::min<std::uint64_t>(kChecksumPieceBytes - rest_.size(), bytes.size());
    rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (rest_.size() < kChecksumPieceBytes) return;
    checksum_.add(num_pieces_++, digest(rest_));
    rest_.clear();
  }
  const std::uint64_t count = bytes.size() / kChecksumPieceBytes;
  unwrap(parallel_for(count, num_threads, [&](std::uint64_t piece, unsigned) -> Result<void> {
    checksum_.add(num_pieces_ + piece, digest(bytes.subspan(piece * kChecksumPieceBytes, kChecksumPieceBytes)));
    return {};
  }));
  num_pieces_ += count;
  bytes = bytes.subspan(count * kChecksumPieceBytes);
  rest_.assign(bytes.begin(), bytes.end());
}

std::uint64_t RunningChecksum::value() {
  if (!rest_.empty()) checksum_.add(num_pieces_++, digest(rest_));
  rest_.clear();
  return checksum_.value();
}

}  // namespace stillbit::cpu
