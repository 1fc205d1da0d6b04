#include "codecs/window/layout.hpp"
#include "codecs/window/warp.hpp"

#include <cstring>

namespace stillbit::window {

warp::PlanBytes warp_plan(const Plan& plan) {
  WarpPlan head;
  head.base = plan.bases[0];
  head.num_columns = static_cast<std::uint32_t>(plan.num_columns());
  head.plane_bytes = static_cast<std::uint32_t>(minimum_row_bytes(plan));
  head.field_bits = plan.field_bits;
  head.dropped_bits = plan.dropped_bits;
  head.is_signed = plan.is_signed ? 1 : 0;
  const bool has_column_bases = plan.bases.size() > 1;
  const std::uint64_t num_bases = has_column_bases ? plan.num_columns() + warp::kLaneColumns : 0;
  if (has_column_bases) head.bases_at = sizeof(WarpPlan);

  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(sizeof(WarpPlan) + num_bases * plan.view_bytes)};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  for (std::uint64_t i = 0; i < num_bases; ++i) {
    const std::uint64_t base = plan.bases[i % plan.bases.size()];
    std::memcpy(made.bytes.data() + sizeof(WarpPlan) + i * plan.view_bytes, &base, plan.view_bytes);
  }
  return made;
}

}  // namespace stillbit::window
