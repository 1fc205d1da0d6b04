#include "codecs/escape/layout.hpp"
#include "codecs/escape/warp.hpp"

#include <algorithm>
#include <cstring>

namespace stillbit::escape {
static_assert(kMaxWarpTiers == kMaxTiers && kMaxTierBits <= 4);
namespace {

bool is_usual(const Plan& plan, const WarpPlan& made) {
  const bool are_floats = plan.symbol_bits == 8 && plan.dropped_bits == 0 && plan.sign_bits == 1;
  return made.tiers == kUsualTiers && !plan.row_shifts && plan.column_shifts.empty() &&
         (plan.view_bytes == 1 || are_floats);
}

}  // namespace

warp::PlanBytes warp_plan(const Plan& plan) {
  const RowLayoutStorage storage(plan, LayoutUse::kDecoding);
  const RowLayout& layout = storage.layout();
  WarpPlan head;
  head.rest_mask = layout.shape.rest_mask;
  head.sign_mask = layout.shape.sign_mask;
  if (plan.view_bytes <= sizeof head.kept_mask) {
    const auto of_word = static_cast<std::uint32_t>(layout.shape.rest_mask | layout.shape.sign_mask);
    head.kept_mask = of_word * (~std::uint32_t{0} / warp::low_mask(8 * plan.view_bytes));
  }
  head.num_columns = static_cast<std::uint32_t>(layout.num_columns);
  head.fixed_bytes = static_cast<std::uint32_t>(layout.fixed_bytes);
  head.fixed_bits = layout.shape.fixed_bits;
  head.dropped_bits = layout.shape.dropped_bits;
  head.symbol_at = layout.shape.symbol_at;
  head.sign_shift = layout.shape.sign_shift;
  head.symbol_mask = static_cast<std::uint32_t>(layout.shape.symbol_mask);
  head.symbol_size = plan.symbol_size();
  head.tiers.count = layout.num_tiers;
  head.row_shift_bytes = layout.row_shifts ? plan.symbol_size() : 0;
  head.counts_at = static_cast<std::uint32_t>(layout.counts_at);
  head.count_bits = layout.count_bits;
  head.escapes_at = static_cast<std::uint32_t>(layout.minimum_row_bytes);
  std::copy_n(layout.tier_bits, kMaxTiers, head.tiers.widths);
  head.is_usual = is_usual(plan, head) ? 1 : 0;
  std::copy_n(&layout.symbol_of_code[0][0], kMaxTiers * 16, &head.symbols[0][0]);
  static_assert(sizeof head.low_bytes == sizeof layout.low_byte_of_code);
  std::memcpy(head.low_bytes, layout.low_byte_of_code, sizeof head.low_bytes);

  const bool has_shifts = layout.column_shifts != nullptr;
  const std::uint64_t shift_bytes = has_shifts ? (layout.num_columns + warp::kLaneColumns) * plan.symbol_size() : 0;
  static_assert(warp::kLaneColumns <= kPadding);
  if (has_shifts) head.column_shifts_at = sizeof(WarpPlan);
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(sizeof(WarpPlan) + shift_bytes)};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  if (has_shifts) std::memcpy(made.bytes.data() + sizeof head, layout.column_shifts, shift_bytes);
  return made;
}

}  // namespace stillbit::escape
