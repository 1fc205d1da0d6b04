#pragma once

#include "codecs/codec.hpp"

namespace stillbit::raw {

/// Codec `raw`: rows as they are. Its plan is empty.
std::unique_ptr<RowCodec> make(std::uint64_t row_bytes);

std::unique_ptr<RowCodec> plan(const PlanInput& input);

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::raw
