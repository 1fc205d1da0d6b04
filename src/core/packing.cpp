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

}  // namespace stillbit
