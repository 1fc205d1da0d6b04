#pragma once

#include "pooling/kernels.hpp"

namespace stillbit::pooling {

/// Rows that lie encoded in slots of one size, and are expanded as they are added. `Batch::rows` are the slots.
struct SlotBatch : Batch {
  /// A bit for each row says which ones fit.
  static constexpr std::uint64_t kMostRows = 32;

  std::uint64_t num_rows = 0;
  std::uint64_t slot_bytes = 0;              ///< kSlack bytes from the beginning of each slot are readable
  std::uint64_t expanded = 0;                ///< bit i: rows[i] is not a slot but an expanded row
  unsigned num_requests = 0;                 ///< that load all lines of a slot
  const std::byte* const* coming = nullptr;  ///< slots that are requested, one as each row is added
  std::uint64_t num_coming = 0;
};

/// Starts to load the lines of a slot: one in each 64 bytes, and the last.
[[gnu::always_inline]] inline void request_slot(const std::byte* slot, std::uint64_t slot_bytes,
                                                unsigned num_requests) {
  for (unsigned i = 1; i < num_requests; ++i, slot += 64, slot_bytes -= 64) __builtin_prefetch(slot, 0, 2);
  __builtin_prefetch(slot + slot_bytes - 1, 0, 2);
}

}  // namespace stillbit::pooling
