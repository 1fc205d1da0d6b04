#pragma once

#include <cstdint>

namespace stillbit::cpu {

/// How the memory of rows is requested before it is read: as much at once as a core can wait for, and so that what it
/// reads meanwhile does not have to wait behind that.
struct RequestPattern {
  std::uint64_t batch_rows = 0;  ///< that are found, and expanded, together
  std::uint64_t rows_ahead = 0;  ///< of a batch, into the second cache
  bool requests_again = false;   ///< a batch once more, into the first cache, before it is expanded
};

/// No machine has more of them.
inline constexpr std::uint64_t kMostGatheredRows = 16;
inline constexpr std::uint64_t kMostRowsAhead = 32;

/// What this machine does best with where rows are gathered in no order, into output that passes the caches and into
/// other output.
[[nodiscard]] RequestPattern gather_pattern(bool passes_caches) noexcept;

}  // namespace stillbit::cpu
