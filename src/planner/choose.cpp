#include "planner/choose.hpp"

#include <algorithm>
#include <limits>

namespace stillbit::planner {

std::vector<std::uint32_t> sampled_sizes(const RowCodec& codec, Bytes sample, std::uint64_t row_bytes) {
  std::vector<std::uint32_t> sizes(sample.size() / row_bytes);
  codec.measure(sample.data(), sizes.size(), sizes.data());
  return sizes;
}

std::unique_ptr<RowCodec> choose(const PlanInput& input, std::span<const PlanCodec> codecs) {
  std::unique_ptr<RowCodec> best;
  std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max();
  for (const PlanCodec plan : codecs) {
    auto codec = plan(input);
    if (!codec) continue;
    const std::uint64_t bytes = estimated_bytes(*codec, input);
    if (bytes >= lowest) continue;
    lowest = bytes;
    best = std::move(codec);
  }
  return best;
}

Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::uint64_t max_bytes, std::vector<std::byte>& copied) {
  if (data.size() <= max_bytes || row_bytes == 0) return data;
  constexpr std::uint64_t kMaxRuns = 64;
  const std::uint64_t num_rows = data.size() / row_bytes;
  const std::uint64_t num_sampled = std::clamp<std::uint64_t>(max_bytes / row_bytes, 1, num_rows);
  const std::uint64_t num_runs = std::min(kMaxRuns, num_sampled);
  copied.reserve(num_sampled * row_bytes);
  for (std::uint64_t run = 0; run < num_runs; ++run) {
    // Run i takes its share of the sample from the start of the i-th part of the tensor.
    const std::uint64_t count = num_sampled * (run + 1) / num_runs - num_sampled * run / num_runs;
    const std::uint64_t first = num_rows / num_runs * run;
    const Bytes rows = data.subspan(first * row_bytes, count * row_bytes);
    copied.insert(copied.end(), rows.begin(), rows.end());
  }
  return copied;
}

}  // namespace stillbit::planner
