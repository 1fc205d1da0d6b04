#pragma once

#include "codecs/codec.hpp"
#include "codecs/ibp/layout.hpp"

namespace stillbit::ibp {

/// RowCodec::account of the codec.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::ibp
