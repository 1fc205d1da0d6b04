#pragma once

#include "codecs/codec.hpp"
#include "codecs/rans/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::rans {

/// Codec `rans`: an entropy coder of the words' first bits, for tensors at rest. Chooses the bits that make the symbol,
/// and levels for segments and columns, by their price on the sample. Null when no plan makes the tensor smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Preconditions: a plan that `parse` would accept and whose rows have less than row_bytes bytes; the machine supports
/// `isa`.
std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa = cpu::active_isa());

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::rans
