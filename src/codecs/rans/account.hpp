#pragma once

#include "codecs/codec.hpp"
#include "codecs/rans/layout.hpp"

namespace stillbit::rans {

/// RowCodec::account.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::rans
