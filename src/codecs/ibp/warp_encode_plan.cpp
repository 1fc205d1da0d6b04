#include "codecs/ibp/layout.hpp"
#include "codecs/ibp/warp_encode.hpp"
#include "core/checked.hpp"

#include <bit>
#include <cstring>

namespace stillbit::ibp {

warp::PlanBytes warp_encode_plan(const Plan& plan) {
  const std::uint64_t num_columns = plan.num_columns();
  const std::uint64_t num_lanes = ceil_div(num_columns, warp::kLaneColumns);
  const std::uint64_t mask_bytes = align_up(num_lanes * warp::kLaneColumns * plan.view_bytes, 16);
  EncodePlan head;
  static_assert(sizeof(EncodePlan) % 16 == 0);
  head.num_columns = static_cast<std::uint32_t>(num_columns);
  head.value_at = sizeof(EncodePlan);
  head.free_at = static_cast<std::uint32_t>(head.value_at + mask_bytes);
  head.patch_at = static_cast<std::uint32_t>(head.free_at + mask_bytes);
  head.places_at = static_cast<std::uint32_t>(head.patch_at + mask_bytes);
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(head.places_at + num_lanes * sizeof(LanePlaces))};

  const std::uint64_t all_ones = ~std::uint64_t{0} >> (64 - 8 * plan.view_bytes);
  std::vector<LanePlaces> places(num_lanes);
  std::uint32_t num_free_bits = 0;
  for (std::uint64_t column = 0; column < num_columns; ++column) {
    const Entry& entry = plan.entry(column);
    const std::uint64_t free = ~entry.mask & all_ones;
    const std::uint64_t patch = entry.patch();
    if (column % warp::kLaneColumns == 0) places[column / warp::kLaneColumns] = {head.num_checked, num_free_bits};
    const auto put = [&](std::uint32_t at, std::uint64_t word) {
      std::memcpy(made.bytes.data() + at + column * plan.view_bytes, &word, plan.view_bytes);
    };
    put(head.value_at, entry.value);
    put(head.free_at, free);
    put(head.patch_at, patch);
    num_free_bits += static_cast<std::uint32_t>(std::popcount(free));
    head.num_checked += patch != 0 ? 1 : 0;
  }
  for (LanePlaces& place : places) place.free += head.num_checked;  // free bits come behind all participation bits
  head.num_static_bits = head.num_checked + num_free_bits;
  std::memcpy(made.bytes.data(), &head, sizeof head);
  std::memcpy(made.bytes.data() + head.places_at, places.data(), places.size() * sizeof places[0]);
  return made;
}

}  // namespace stillbit::ibp
