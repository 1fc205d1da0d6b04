#pragma once

#include "core/bytes.hpp"
#include "cpu/isa.hpp"

#include <cstdint>

namespace stillbit::cpu {

/// `stillbit::digest` in the widest registers of the machine.
[[nodiscard]] std::uint64_t digest(Bytes bytes, Isa isa = active_isa()) noexcept;

/// The format's checksum of contiguous bytes.
[[nodiscard]] std::uint64_t checksum(Bytes bytes, unsigned num_threads);

}  // namespace stillbit::cpu
