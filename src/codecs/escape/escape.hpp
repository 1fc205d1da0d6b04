#pragma once

#include "codecs/codec.hpp"
#include "codecs/escape/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::escape {

/// Codec `escape`: short codes for common exponents. Chooses the size of the words, the bits that make the symbol, the
/// tiers, and whether rows or columns are shifted, by their price on the sample. Null when no plan makes it smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Preconditions: a plan that `parse` would accept and whose rows have less than row_bytes bytes; the machine supports
/// `isa`.
std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa = cpu::active_isa());

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::escape
