#include "planner/choose.hpp"

#include "cpu/parallel.hpp"
#include "planner/runs.hpp"

#include <algorithm>

namespace stillbit::planner {
namespace {

/// Smaller samples are planned on in less time than threads take to start.
constexpr std::uint64_t kMinThreadedBytes = std::uint64_t{16} << 10;

std::optional<Option> priced_option(std::unique_ptr<RowCodec> codec, Bytes rows, const format::PayloadHeader& header,
                                    bool prices_both, double decode_cost) {
  std::vector<std::uint32_t> sizes = measured(*codec, header.tile_bytes, rows);
  std::optional<Priced> back_to_back;
  if (prices_both) {
    format::PayloadHeader packed = header;
    packed.packing = Packing::kPacked;
    back_to_back = price(*codec, std::move(packed), sizes);
  }
  auto priced = price(*codec, header, sizes);
  if (!priced) return std::nullopt;
  return Option{std::move(codec), std::move(*priced), decode_cost, std::move(back_to_back)};
}

}  // namespace

Result<std::vector<Option>> plan_all(PlanInput input, Bytes priced_rows, const format::PayloadHeader& header,
                                     bool prices_both, std::span<const Candidate> candidates, unsigned num_threads) {
  std::vector<std::optional<Option>> found(candidates.size());
  const unsigned num_used = input.sample.size() < kMinThreadedBytes ? 1 : num_threads;
  for (const bool last : {false, true}) {
    STILLBIT_CHECK(cpu::parallel_for(candidates.size(), num_used, [&](std::uint64_t i, unsigned) -> Result<void> {
      if (candidates[i].plans_last != last) return {};
      if (auto codec = candidates[i].plan(input))
        found[i] = priced_option(std::move(codec), priced_rows, header, prices_both, candidates[i].decode_cost);
      return {};
    }));
    for (const std::optional<Option>& option : found) {
      if (option) input.enough_bytes = std::min(input.enough_bytes, option->priced.stored_bytes());
    }
  }
  std::vector<Option> options;
  for (std::optional<Option>& option : found) {
    if (option) options.push_back(std::move(*option));
  }
  return options;
}

double cost(const Priced& priced, double decode_cost, Objective objective) {
  const auto stored = static_cast<double>(priced.stored_bytes());
  if (objective == Objective::kStorage || objective == Objective::kSmallest) return stored;
  if (objective == Objective::kTransfer) return priced.transfer_bytes;
  const auto raw = static_cast<double>(priced.header.geometry.num_bytes());
  return std::max(stored + raw, decode_cost * raw);
}

Rank rank(const Priced& priced, double decode_cost, Objective objective) {
  return {cost(priced, decode_cost, objective), priced.stored_bytes()};
}

Option* cheapest(std::span<Option> options, Objective objective) {
  const auto found = std::min_element(options.begin(), options.end(), [&](const Option& a, const Option& b) {
    return rank(a, objective) < rank(b, objective);
  });
  return found == options.end() ? nullptr : &*found;
}

Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::uint64_t max_bytes, std::vector<std::byte>& copied) {
  if (data.size() <= max_bytes || row_bytes == 0) return data;
  copied.reserve(std::max(max_bytes, row_bytes));
  for_each_run(data.size() / row_bytes, row_bytes, max_bytes, [&](std::uint64_t first, std::uint64_t count) {
    const Bytes rows = data.subspan(first * row_bytes, count * row_bytes);
    copied.insert(copied.end(), rows.begin(), rows.end());
  });
  return copied;
}

Bytes take_sample(Bytes data, std::uint64_t row_bytes, std::span<const std::uint64_t> rows, std::uint64_t max_bytes,
                  std::vector<std::byte>& copied) {
  const auto take = [&](std::uint64_t first, std::uint64_t count) {
    for (const std::uint64_t row : rows.subspan(first, count)) {
      const Bytes bytes = data.subspan(row * row_bytes, row_bytes);
      copied.insert(copied.end(), bytes.begin(), bytes.end());
    }
  };
  copied.reserve(std::min(rows.size() * row_bytes, std::max(max_bytes, row_bytes)));
  if (rows.size() * row_bytes <= max_bytes) {
    take(0, rows.size());
  } else {
    for_each_run(rows.size(), row_bytes, max_bytes, take);
  }
  return copied;
}

}  // namespace stillbit::planner
