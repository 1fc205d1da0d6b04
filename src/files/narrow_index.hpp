#pragma once

#include "format/payload.hpp"
#include "io/atomic_file.hpp"

namespace stillbit {

/// Gives a packed payload in a file a row index with fewer bits, and moves its rows to where they then belong. `wide`
/// and `narrow` are its headers before and after, and differ in nothing else; every row's place fits.
Result<void> narrow_index(io::AtomicFile& file, std::uint64_t payload_offset, const format::PayloadHeader& wide,
                          const format::PayloadHeader& narrow);

}  // namespace stillbit
