#pragma once

#include "codecs/codec.hpp"
#include "codecs/window/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::window {

/// Codec `window`: every word as its offset from a base, in a field of fixed width. Chooses the size of the words, the
/// width and the base, one for all columns or one for each, by their price on the sample. Null when no plan makes it
/// smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Preconditions: a plan that `parse` would accept and whose fields take less than row_bytes bytes; the machine
/// supports `isa`.
std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa = cpu::active_isa());

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::window
