#pragma once

#include <cstddef>
#include <vector>

namespace stillbit::warp {

/// A codec's plan as warps read it: the `WarpPlan` of the codec's warp.hpp with what it points to behind it. Read at an
/// address that is a multiple of 8.
struct PlanBytes {
  unsigned view_bytes = 1;  ///< of the words that rows are seen as
  std::vector<std::byte> bytes;
};

}  // namespace stillbit::warp
