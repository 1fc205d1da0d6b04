#pragma once

#include "cpu/isa.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit {

/// Bit-sliced counters: plane l holds bit l of the number of ones that each bit position has had so far. A row is cut
/// into vectors of kPlaneBytes; the planes of a vector lie together, so that those of all vectors do not meet in one
/// cache set.
inline constexpr std::uint64_t kNumPlanes = 16;
inline constexpr std::uint64_t kPlaneBytes = 32;

/// What the planes can count up to.
inline constexpr std::uint64_t kMaxPlaneRows = (std::uint64_t{1} << kNumPlanes) - 1;

/// Bytes of the planes of a row: it is filled up to whole vectors.
[[nodiscard]] constexpr std::uint64_t plane_bytes_of(std::uint64_t row_bytes) noexcept {
  return (row_bytes + kPlaneBytes - 1) / kPlaneBytes * kPlaneBytes * kNumPlanes;
}

/// Counts the ones of each bit position of `num_rows` rows that lie back to back: adds them to the planes.
/// Preconditions: there are plane_bytes_of(row_bytes) bytes of planes; they have counted at most kMaxPlaneRows rows
/// then; the machine supports `isa`.
void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes,
                   cpu::Isa isa = cpu::active_isa());

}  // namespace stillbit
