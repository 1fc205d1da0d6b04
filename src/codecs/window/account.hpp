#pragma once

#include "codecs/codec.hpp"
#include "codecs/window/layout.hpp"

namespace stillbit::window {

/// RowCodec::account of the codec.
void account(const Plan& plan, const StoredRow& row, RowAccount& account);

}  // namespace stillbit::window
