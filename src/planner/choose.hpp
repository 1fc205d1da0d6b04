#pragma once

#include "codecs/codec.hpp"

#include <span>

namespace stillbit::planner {

/// The stored size of each row of the sample.
[[nodiscard]] std::vector<std::uint32_t> sampled_sizes(const RowCodec& codec, Bytes sample, std::uint64_t row_bytes);

/// Plans each codec for the tensor and returns the one that is estimated to take the fewest bytes.
[[nodiscard]] std::unique_ptr<RowCodec> choose(const PlanInput& input, std::span<const PlanCodec> codecs);

/// Rows spread over a tensor, at most `max_bytes` of them but one at least: `data` itself when it is no larger, else
/// copies in `copied`.
[[nodiscard]] Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::uint64_t max_bytes,
                                std::vector<std::byte>& copied);

}  // namespace stillbit::planner
