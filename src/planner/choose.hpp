#pragma once

#include "planner/price.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace stillbit::planner {

/// A codec that may be chosen.
struct Candidate {
  PlanCodec plan = nullptr;
  double decode_cost = 0;   ///< time to expand a byte, in units of the time in which memory moves one
  bool plans_last = false;  ///< its plan takes long, and is told what others take
};

/// A codec with the plan that it made, and what the tensor would cost with it.
struct Option {
  std::shared_ptr<const RowCodec> codec;
  Priced priced;
  double decode_cost = 0;
  std::optional<Priced> back_to_back = {};  ///< what the same rows would cost without slots, where that was asked for
};

/// Lets each codec make a plan, side by side on threads, and prices it on `priced_rows`, of which the plan's sample is
/// a part. Codecs that cannot make rows smaller are left out. `prices_both`: in slots, as the header says, and back to
/// back.
[[nodiscard]] Result<std::vector<Option>> plan_all(PlanInput input, Bytes priced_rows,
                                                   const format::PayloadHeader& header, bool prices_both,
                                                   std::span<const Candidate> candidates, unsigned num_threads);

/// What an objective makes as small as possible: bytes that are stored; bytes that gathers move; or the time to expand,
/// which is the time to move what is read and written, or that to compute, whichever is longer.
[[nodiscard]] double cost(const Priced& priced, double decode_cost, Objective objective);

/// What options are ordered by: the cost, and of those that cost the same, as if they expand equally fast, the bytes.
using Rank = std::pair<double, std::uint64_t>;
[[nodiscard]] Rank rank(const Priced& priced, double decode_cost, Objective objective);
[[nodiscard]] inline Rank rank(const Option& option, Objective objective) {
  return rank(option.priced, option.decode_cost, objective);
}

/// The cheapest option; null when there is none.
[[nodiscard]] Option* cheapest(std::span<Option> options, Objective objective);

/// Rows spread over a tensor, at most `max_bytes` of them but one at least: `data` itself when it is no larger, else
/// copies in `copied`.
[[nodiscard]] Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::uint64_t max_bytes,
                                std::vector<std::byte>& copied);

/// The same of the rows of `data` that `rows` names; always copies.
[[nodiscard]] Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::span<const std::uint64_t> rows,
                                std::uint64_t max_bytes, std::vector<std::byte>& copied);

}  // namespace stillbit::planner
