#pragma once

#include "codecs/codec.hpp"
#include "codecs/sparse/layout.hpp"

namespace stillbit::sparse {

/// RowCodec::account of the codec.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::sparse
