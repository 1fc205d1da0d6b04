#pragma once

#include "codecs/codec.hpp"
#include "codecs/ibp/layout.hpp"

namespace stillbit::ibp {

/// Codec `ibp`: invariant bit packing, with the plan that the statistics and the sample suggest. Tries views of 1, 2, 4
/// and 8 bytes, each with masks per column and with one mask for all columns, and keeps the smallest. Null when no plan
/// makes the sample smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Precondition: a plan that `parse` would accept and whose rows have less than row_bytes bytes.
std::unique_ptr<RowCodec> make(Plan plan);

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::ibp
