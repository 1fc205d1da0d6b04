#pragma once

#include "codecs/raw/warp.hpp"
#include "warp/bit_writer.hpp"

namespace stillbit::raw {

/// Rows of a raw table fill their slots and are copied.
template <class Word_>
struct WarpEncoder {
  using Word = Word_;
  using Plan = WarpPlan;

  template <class Warp>
  STILLBIT_WARP static std::uint32_t encode(Warp&, const Plan&, const warp::ByteRun&, std::uint32_t*, std::byte*) {
    return warp::kStoredRaw;
  }
};

}  // namespace stillbit::raw
