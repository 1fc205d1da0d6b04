#pragma once

#include "codecs/escape/warp_narrow.hpp"
#include "codecs/escape/warp_wide.hpp"

// How a warp expands a row (spec.md).

namespace stillbit::escape {

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte* scratch) {
    if constexpr (sizeof(Word) == 8) {
      return WideRow<Warp>(warp, plan, row, scratch).expand(out);
    } else {
      if (plan.is_usual != 0) return NarrowRow<Word, Warp, true>(warp, plan, row, scratch).expand(out);
      return NarrowRow<Word, Warp, false>(warp, plan, row, scratch).expand(out);
    }
  }
};

}  // namespace stillbit::escape
