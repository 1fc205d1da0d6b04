#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace stillbit {

/// XXH3-64 of one run of bytes.
[[nodiscard]] std::uint64_t digest(Bytes bytes) noexcept;

/// The same, of bytes that come in parts.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void update(Bytes bytes) noexcept;
  [[nodiscard]] std::uint64_t value() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes that one leaf of a checksum covers.
inline constexpr std::uint64_t kChecksumPieceBytes = std::uint64_t{1} << 20;

/// The format's checksum (docs/format.md) from the digests of its pieces, in order.
[[nodiscard]] std::uint64_t checksum_of_digests(const std::vector<std::uint64_t>& digests) noexcept;

/// A digest as 16 hexadecimal digits.
[[nodiscard]] std::string to_hex(std::uint64_t digest);

}  // namespace stillbit
