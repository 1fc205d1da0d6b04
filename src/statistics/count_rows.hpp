#pragma once

#include "core/bytes.hpp"

#include <stillbit/statistics.hpp>

#include <cstdint>
#include <functional>

namespace stillbit {

/// Adds rows that lie back to back, on several threads. `done(offset, num_bytes)` is called, from any of them, when a
/// piece was looked at. Precondition: whole rows.
void count_rows(Bytes rows, BitStatistics& statistics, unsigned num_threads,
                const std::function<void(std::uint64_t offset, std::uint64_t num_bytes)>& done = {});

}  // namespace stillbit
