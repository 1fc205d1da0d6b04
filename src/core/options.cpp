#include <stillbit/options.hpp>

namespace stillbit {

std::string_view name(Packing packing) noexcept {
  return packing == Packing::kSlotted ? "slotted" : "packed";
}

std::optional<Packing> packing_from_name(std::string_view text) noexcept {
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    if (text == name(packing)) return packing;
  }
  return std::nullopt;
}

std::string_view name(Objective objective) noexcept {
  constexpr std::string_view kNames[] = {"storage", "transfer", "speed", "smallest"};
  return kNames[static_cast<std::size_t>(objective)];
}

std::optional<Objective> objective_from_name(std::string_view text) noexcept {
  for (const Objective objective :
       {Objective::kStorage, Objective::kTransfer, Objective::kSpeed, Objective::kSmallest}) {
    if (text == name(objective)) return objective;
  }
  return std::nullopt;
}

}  // namespace stillbit
