#pragma once

#include "codecs/codec.hpp"
#include "codecs/sparse/layout.hpp"

namespace stillbit::sparse {

/// Codec `sparse`: places and values of the words that are not the most common one, with the plan that is the smallest
/// on the sample. Tries views of 1, 2, 4 and 8 bytes on a few words, and those that promise most on the whole sample.
/// Null when no plan makes the sample smaller.
std::unique_ptr<RowCodec> plan(const PlanInput& input);

/// Precondition: a plan that `parse` would accept and whose rows have less than row_bytes bytes.
std::unique_ptr<RowCodec> make(Plan plan);

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit::sparse
