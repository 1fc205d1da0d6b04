#include "codecs/escape/layout.hpp"
#include "codecs/escape/warp_encode.hpp"

#include <algorithm>
#include <cstring>

namespace stillbit::escape {

warp::PlanBytes warp_encode_plan(const Plan& plan) {
  const RowLayoutStorage storage(plan);
  const RowLayout& layout = storage.layout();
  EncodePlan head;
  head.rest_mask = layout.shape.rest_mask;
  head.sign_mask = layout.shape.sign_mask;
  head.forbidden = layout.shape.forbidden;
  head.num_columns = static_cast<std::uint32_t>(layout.num_columns);
  head.fixed_bytes = static_cast<std::uint32_t>(layout.fixed_bytes);
  head.fixed_bits = layout.shape.fixed_bits;
  head.dropped_bits = layout.shape.dropped_bits;
  head.symbol_at = layout.shape.symbol_at;
  head.sign_shift = layout.shape.sign_shift;
  head.symbol_mask = static_cast<std::uint32_t>(layout.shape.symbol_mask);
  head.symbol_size = plan.symbol_size();
  head.num_tiers = layout.num_tiers;
  head.row_shift_bytes = layout.row_shifts ? plan.symbol_size() : 0;
  head.counts_at = static_cast<std::uint32_t>(layout.counts_at);
  head.count_bits = layout.count_bits;
  head.escapes_at = static_cast<std::uint32_t>(layout.minimum_row_bytes);
  head.common_symbol = layout.symbol_of_code[0][1];
  std::copy_n(layout.tier_bits, kMaxTiers, head.tier_bits);

  static_assert(kMaxTierBits <= kCodeBits && kMaxTiers == kMaxWarpTiers && kTierAt + 2 <= 16);
  std::vector<std::uint16_t> codes(std::size_t{1} << plan.symbol_bits);
  for (std::size_t symbol = 0; symbol < codes.size(); ++symbol) {
    const unsigned tier = layout.tier_of_symbol[symbol];
    unsigned entry = (tier == layout.num_tiers ? kNoTier : tier) << kTierAt;
    for (unsigned i = 0; i < layout.num_tiers; ++i)
      entry |= unsigned{layout.code_of_symbol[i][symbol]} << i * kCodeBits;
    codes[symbol] = static_cast<std::uint16_t>(entry);
  }
  const bool has_shifts = layout.column_shifts != nullptr;
  const std::uint64_t shift_bytes = has_shifts ? (layout.num_columns + warp::kLaneColumns) * plan.symbol_size() : 0;
  const std::size_t code_bytes = codes.size() * sizeof(codes[0]);
  head.codes_at = sizeof(EncodePlan);
  if (has_shifts) head.column_shifts_at = static_cast<std::uint32_t>(sizeof(EncodePlan) + code_bytes);
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(sizeof(EncodePlan) + code_bytes + shift_bytes)};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  std::memcpy(made.bytes.data() + head.codes_at, codes.data(), code_bytes);
  if (has_shifts) std::memcpy(made.bytes.data() + head.column_shifts_at, layout.column_shifts, shift_bytes);
  return made;
}

}  // namespace stillbit::escape
