// What everything is measured beside: moving the same bytes without compressing them.

#pragma once

#include "bench/cases.hpp"

namespace stillbit::bench {

/// memcpy of data.raw to data.out.
void copy(Data& data, unsigned num_threads);

/// Copies rows to data.out, back to back, `ahead` rows ahead of which memory is requested; 0: none, as numpy's take and
/// torch's index_select do it.
void raw_gather(Data& data, std::span<const std::int64_t> index, unsigned ahead, unsigned num_threads);

/// The `ahead` with which raw_gather is fastest on this tensor and machine: compressed gathers have to stand beside the
/// best one.
unsigned best_ahead(Data& data);

}  // namespace stillbit::bench
