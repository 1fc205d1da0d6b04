#pragma once

#include "warp/output.hpp"

namespace stillbit::raw {

/// There is no plan.
struct WarpPlan {};

/// Every tile of a raw tensor is raw, and none gets here but by a malformed slot.
template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp&, const Plan&, const warp::ByteRun&, const warp::Output&, std::byte*) {
    return false;
  }
};

}  // namespace stillbit::raw
