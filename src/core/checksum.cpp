#include "core/checksum.hpp"

#include <xxhash.h>

namespace stillbit {

std::uint64_t digest(Bytes bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

struct Digest::State {
  XXH3_state_t xxh3;
};

Digest::Digest() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh3);
}
Digest::~Digest() = default;
void Digest::update(Bytes bytes) noexcept {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}
std::uint64_t Digest::value() const noexcept {
  return XXH3_64bits_digest(&state_->xxh3);
}

std::uint64_t checksum_of_digests(const std::vector<std::uint64_t>& digests) noexcept {
  return digest(std::as_bytes(std::span(digests)));
}

std::string to_hex(std::uint64_t digest) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; digest >>= 4) text[i] = "0123456789abcdef"[digest & 0xF];
  return text;
}

}  // namespace stillbit
