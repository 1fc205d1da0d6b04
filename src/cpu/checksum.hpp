#pragma once

#include "core/bytes.hpp"
#include "core/checksum.hpp"
#include "cpu/isa.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stillbit::cpu {

/// `stillbit::digest` in the widest registers of the machine.
[[nodiscard]] std::uint64_t digest(Bytes bytes, Isa isa = active_isa()) noexcept;

/// The same, of bytes that come in parts: best of several KiB. Takes no memory but its own.
class RunningDigest {
 public:
  explicit RunningDigest(Isa isa = active_isa()) noexcept;

  void add(Bytes bytes) noexcept;
  [[nodiscard]] std::uint64_t value() const noexcept;

 private:
  alignas(64) std::byte state_[576];  ///< of XXH3
  Isa isa_;
};

/// The format's checksum of contiguous bytes.
[[nodiscard]] std::uint64_t checksum(Bytes bytes, unsigned num_threads);

/// The same, of bytes that come one run after the other.
class RunningChecksum {
 public:
  void add(Bytes bytes, unsigned num_threads);

  /// Of all that was added; nothing can be added after that.
  [[nodiscard]] std::uint64_t value();

 private:
  Checksum checksum_;
  std::uint64_t num_pieces_ = 0;
  std::vector<std::byte> rest_;  ///< the start of a piece that is not whole yet
};

}  // namespace stillbit::cpu
