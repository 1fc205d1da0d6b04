#pragma once

#include "codecs/codec.hpp"
#include "codecs/escape/layout.hpp"

namespace stillbit::escape {

/// RowCodec::account of the codec.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::escape
