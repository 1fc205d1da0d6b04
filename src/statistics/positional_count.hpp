#pragma once

#include "cpu/isa.hpp"

#include <cstddef>
#include <cstdint>

namespace stillbit {

/// Bytes that are counted together: a line of memory.
inline constexpr std::uint64_t kStripBytes = 64;

/// Bit-sliced counters: plane l holds bit l of the number of ones that each bit position has had so far. A row is cut
/// into vectors of kPlaneBytes; the planes of a vector lie together, so that those of all vectors do not meet in one
/// cache set.
inline constexpr std::uint64_t kNumPlanes = 16;
inline constexpr std::uint64_t kPlaneBytes = 32;

/// What the planes can count up to.
inline constexpr std::uint64_t kMaxPlaneRows = (std::uint64_t{1} << kNumPlanes) - 1;

/// Counts the ones of each bit position of `num_rows` rows that lie back to back: adds them to the
/// planes, kNumPlanes × row_bytes bytes.
/// Preconditions: `row_bytes` is a multiple of kStripBytes; the planes have counted at most kMaxPlaneRows rows then;
/// the machine supports `isa`.
void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes,
                   cpu::Isa isa = cpu::active_isa());

}  // namespace stillbit
