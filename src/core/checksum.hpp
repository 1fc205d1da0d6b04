#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

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

/// The format's checksum (docs/format.md), from the digests of its pieces. Threads may add pieces in any order; those
/// that come early wait, so that memory is needed for few of them.
class Checksum {
 public:
  void add(std::uint64_t piece, std::uint64_t digest);

  /// Precondition: every piece from 0 on was added once.
  [[nodiscard]] std::uint64_t value() const noexcept { return joined_.value(); }

 private:
  std::mutex mutex_;
  Digest joined_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::uint64_t> early_;
};

/// A digest as 16 hexadecimal digits.
[[nodiscard]] std::string to_hex(std::uint64_t digest);

}  // namespace stillbit
