#pragma once

#include "codecs/codec.hpp"
#include "codecs/dictionary/layout.hpp"

namespace stillbit::dictionary {

/// Codec `dictionary`: a dictionary or a window for each column. Null when no plan makes the sample smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Precondition: a plan that `parse` would accept and whose fields have less than row_bytes bytes.
std::unique_ptr<RowCodec> make(Plan plan);

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::dictionary
