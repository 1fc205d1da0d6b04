#pragma once

#include "codecs/codec.hpp"
#include "codecs/dictionary/layout.hpp"

namespace stillbit::dictionary {

/// RowCodec::account of the codec.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::dictionary
