#include "core/checksum.hpp"

#include <xxhash.h>

namespace stillbit {

std::uint64_t digest(Bytes bytes) noexcept { return XXH3_64bits(bytes.data(), bytes.size()); }

std::uint64_t checksum_of_digests(const std::vector<std::uint64_t>& digests) noexcept {
  return digest(std::as_bytes(std::span(digests)));
}

std::string to_hex(std::uint64_t digest) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; digest >>= 4) text[i] = "0123456789abcdef"[digest & 0xF];
  return text;
}

}  // namespace stillbit
