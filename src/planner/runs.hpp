#pragma once

#include <algorithm>
#include <cstdint>

namespace stillbit::planner {

/// Runs of neighbouring rows that a sample is made of: enough to see all parts of a tensor, each long enough to be read
/// quickly.
inline constexpr std::uint64_t kMaxRuns = 64;

/// Calls `take(first, count)` for runs of rows that make a sample of at most `max_bytes`, but of one row at least: run
/// i has its share of the sample, from the start of the i-th part of the rows on. Precondition: there is a row.
template <class Take>
void for_each_run(std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t max_bytes, const Take& take) {
  const std::uint64_t num_sampled = std::clamp<std::uint64_t>(max_bytes / row_bytes, 1, num_rows);
  const std::uint64_t num_runs = std::min(kMaxRuns, num_sampled);
  for (std::uint64_t run = 0; run < num_runs; ++run) {
    const std::uint64_t count = num_sampled * (run + 1) / num_runs - num_sampled * run / num_runs;
    take(num_rows / num_runs * run + num_rows % num_runs * run / num_runs, count);
  }
}

}  // namespace stillbit::planner
