#pragma once

#include "core/bytes.hpp"
#include "tiers/frequency_sketch.hpp"
#include "tiers/pace.hpp"
#include "tiers/row_map.hpp"
#include "tiers/slot_memory.hpp"

#include <atomic>
#include <cstdint>
#include <vector>

namespace stillbit::tiers {

/// Raw rows in slots: those that the policy keeps, and behind them, once rows are prefetched, a ring of slots for
/// these. Functions that are not const need the table's lock for themselves, others share it.
class FastTier {
 public:
  static constexpr std::uint32_t kNone = RowMap::kNone;

  [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t num_slots, std::uint64_t row_bytes) noexcept;

  FastTier(std::uint64_t num_slots, std::uint64_t row_bytes, double prefetch_share);

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_for(slot_rows_.size(), row_bytes_); }
  [[nodiscard]] std::uint64_t num_slots() const noexcept { return slot_rows_.size(); }
  [[nodiscard]] std::uint64_t num_rows() const noexcept { return num_rows_; }
  [[nodiscard]] std::uint64_t num_prefetch_slots() const noexcept { return num_prefetch_slots_; }
  [[nodiscard]] FrequencySketch& sketch() const noexcept { return sketch_; }
  [[nodiscard]] Pace& pace() const noexcept { return pace_; }

  void prefetch_map(std::uint64_t hash) const noexcept { map_.prefetch(hash); }
  void prefetch_row(std::uint32_t slot) const noexcept;
  [[nodiscard]] std::uint32_t find(std::uint32_t row, std::uint64_t hash) const noexcept {
    return map_.find(row, hash);
  }
  [[nodiscard]] const std::byte* row_at(std::uint32_t slot) const noexcept {
    return memory_.data() + std::uint64_t{slot} * row_bytes_;
  }
  /// Whether a row is there because it was prefetched.
  [[nodiscard]] bool is_prefetched(std::uint32_t slot) const noexcept { return slot >= num_main_; }

  /// A slot that a row may take.
  struct Place {
    std::uint32_t slot = kNone;  ///< none when the policy does not admit the row
    std::uint32_t row = kNone;   ///< which has it; none stands for any slot that is free
  };
  /// Where the policy puts a row of this hash, which has just been counted. `num_promised` free slots are taken.
  [[nodiscard]] Place choose(std::uint64_t hash, std::uint64_t num_promised) const noexcept;

  /// Requests what `put` needs.
  void prefetch_place(const Place& place) const noexcept;

  /// Whether a row that is not there, or prefetched only, can still have a place.
  [[nodiscard]] bool is_open(const Place& place) const noexcept;
  /// Puts it there. Precondition: it can.
  void put(std::uint32_t row, const Place& place, const std::byte* src) noexcept;

  /// Puts a row into a free slot, if there is one. Precondition: the row is not there.
  bool put_in_room(std::uint32_t row, const std::byte* src) noexcept;

  /// Replaces a row that is there.
  void replace(std::uint32_t slot, const std::byte* src) noexcept;

  /// Puts rows that are prefetched into the ring. Precondition: there is one, and the row is not there.
  void put_prefetched(std::uint32_t row, const std::byte* src) noexcept;
  /// Makes the ring, from the slots at the end, if it is not there. Returns how many rows had to leave.
  std::uint64_t make_ring() noexcept;

  /// Forgets all rows.
  void clear() noexcept;

 private:
  void occupy(std::uint32_t slot, std::uint32_t row, const std::byte* src) noexcept;
  void vacate(std::uint32_t slot) noexcept;

  std::uint64_t row_bytes_;
  std::uint64_t num_prefetch_slots_;
  std::uint64_t num_main_;      ///< slots before the ring
  std::uint64_t num_used_ = 0;  ///< of these: they are filled in order
  std::uint64_t num_rows_ = 0;
  std::uint64_t ring_next_ = 0;
  SlotMemory memory_;
  std::vector<std::uint32_t> slot_rows_;
  RowMap map_;
  mutable FrequencySketch sketch_;
  mutable Pace pace_;
  mutable std::atomic<std::uint32_t> hand_{0};  ///< the slot that is looked at next when one has to give way
};

}  // namespace stillbit::tiers
