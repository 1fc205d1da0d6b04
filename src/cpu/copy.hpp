#pragma once

#include "core/bytes.hpp"

#include <cstdint>

namespace stillbit::cpu {

/// From so many bytes on, what is written had better pass the caches: it is not in them when it is read.
inline constexpr std::uint64_t kPastCachesBytes = std::uint64_t{32} << 20;

/// Copies bytes past the caches, for memory that is far larger than they are and will not be read soon: it is then not
/// read before it is written, which halves what the copy costs. Other threads may read it after `finish_copies`.
void copy_past_caches(Bytes bytes, std::byte* dst) noexcept;

/// Waits until what this thread has copied past the caches is there.
void finish_copies() noexcept;

}  // namespace stillbit::cpu
