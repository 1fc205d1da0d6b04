#include "codecs/sparse/layout.hpp"
#include "codecs/sparse/warp.hpp"

#include <cstring>

namespace stillbit::sparse {

warp::PlanBytes warp_plan(const Plan& plan) {
  const RowLayoutStorage storage(plan);
  const RowLayout& layout = storage.layout();
  WarpPlan head;
  head.background = layout.background;
  head.base = layout.base;
  head.num_columns = static_cast<std::uint32_t>(layout.num_columns);
  head.num_buckets = static_cast<std::uint32_t>(layout.num_buckets);
  head.minimum_bytes = static_cast<std::uint32_t>(layout.minimum_row_bytes);
  head.low_bits = layout.low_bits;
  head.code_bits = layout.code_bits;
  head.column_bits = layout.column_bits;
  head.is_window = layout.value_mode == ValueMode::kWindow ? 1 : 0;
  head.sign_bits = layout.sign_bits;
  head.drop_bits = layout.sign_bits + layout.zero_bits;
  head.num_values = static_cast<std::uint32_t>(layout.num_values);
  head.values_at = sizeof(WarpPlan);

  const std::uint64_t value_bytes = layout.values == nullptr ? 0 : layout.num_values * plan.view_bytes;
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(sizeof(WarpPlan) + value_bytes)};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  if (value_bytes != 0) std::memcpy(made.bytes.data() + sizeof head, layout.values, value_bytes);
  return made;
}

}  // namespace stillbit::sparse
