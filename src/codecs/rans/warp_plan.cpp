#include "codecs/rans/layout.hpp"
#include "codecs/rans/warp.hpp"

#include <cstring>

namespace stillbit::rans {
// What the warp keeps of a row's last fixed fields: those of a block, those that the states end with, and what is read
// behind them.
static_assert(kBlockColumns * 57 / 8 + 8 + kSeedBytes + 11 <= 1024, "they fit into scratch memory");

warp::PlanBytes warp_plan(const Plan& plan) {
  const RowLayoutStorage storage(plan);
  const RowLayout& layout = storage.layout();
  WarpPlan head;
  head.rest_mask = layout.shape.rest_mask;
  head.sign_mask = layout.shape.sign_mask;
  head.runs = layout.runs;
  head.symbol_mask = static_cast<std::uint32_t>(layout.shape.symbol_mask);
  head.fixed_bits = layout.shape.fixed_bits;
  head.dropped_bits = layout.shape.dropped_bits;
  head.symbol_at = layout.shape.symbol_at;
  head.sign_shift = layout.shape.sign_shift;
  head.scale_bits = layout.scale_bits;
  head.num_columns = static_cast<std::uint32_t>(layout.num_columns);
  head.head_columns = static_cast<std::uint32_t>(layout.head_columns);
  head.levels_at = static_cast<std::uint32_t>(layout.levels_at);
  head.fixed_at = static_cast<std::uint32_t>(layout.fixed_at);
  head.stored_bytes = static_cast<std::uint32_t>(layout.stored_bytes);
  head.minimum_row_bytes = static_cast<std::uint32_t>(layout.minimum_row_bytes);
  head.escape_index = layout.escape_index;
  head.escape_bytes = layout.has_escapes ? layout.symbol_size : 0;
  head.num_levels = layout.num_levels;
  head.level_bits = layout.level_bits;
  head.segment_columns = static_cast<std::uint32_t>(layout.segment_columns);
  head.num_segments = static_cast<std::uint32_t>(layout.num_segments);
  head.period = static_cast<std::uint32_t>(plan.column_levels.size());
  const std::size_t slot_bytes = (plan.frequencies.size() << plan.scale_bits) * sizeof(Slot);
  head.slots_at = sizeof(WarpPlan);
  head.column_levels_at = static_cast<std::uint32_t>(sizeof(WarpPlan) + slot_bytes);

  warp::PlanBytes made{plan.view_bytes,
                       std::vector<std::byte>(sizeof(WarpPlan) + slot_bytes + plan.column_levels.size())};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  std::memcpy(made.bytes.data() + head.slots_at, layout.slots, slot_bytes);
  if (!plan.column_levels.empty())
    std::memcpy(made.bytes.data() + head.column_levels_at, plan.column_levels.data(), plan.column_levels.size());
  return made;
}

}  // namespace stillbit::rans
