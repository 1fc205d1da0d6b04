#pragma once

#include "codecs/window/layout.hpp"
#include "cpu/isa.hpp"
#include "pooling/slots.hpp"

namespace stillbit::window {

/// Adds the rows of a batch as they are expanded. Returns how many are well before the first malformed one.
/// Preconditions are those of RowCodec::sum_slots.
using SumSlots = std::uint64_t (*)(const RowLayout& layout, const pooling::SlotBatch& batch);

/// Null where rows are expanded first. Precondition: the machine supports `isa`.
SumSlots sum_slots(const Plan& plan, DType dtype, std::uint64_t slot_bytes, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::window
