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

void Checksum::add(std::uint64_t piece, std::uint64_t digest) {
  const std::lock_guard lock(mutex_);
  early_.emplace(piece, digest);
  for (auto first = early_.begin(); first != early_.end() && first->first == next_; ++next_) {
    joined_.update(std::as_bytes(std::span(&first->second, 1)));
    first = early_.erase(first);
  }
}

std::string to_hex(std::uint64_t digest) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; digest >>= 4) text[i] = "0123456789abcdef"[digest & 0xF];
  return text;
}

}  // namespace stillbit
