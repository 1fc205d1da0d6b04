// How long a call takes.

#pragma once

#include "bench/gpu/work.hpp"

#include <vector>

namespace stillbit::bench::gpu {

/// Seconds that a call takes, once for each repetition, in the order in which they were measured. A repetition is a
/// number of calls one after the other, so many that a clock's resolution and the start of a call do not matter.
struct Timing {
  std::vector<double> seconds;
  std::uint64_t calls = 0;  ///< of a repetition
};

Timing measure(const Work& work, cudaStream_t stream);

}  // namespace stillbit::bench::gpu
