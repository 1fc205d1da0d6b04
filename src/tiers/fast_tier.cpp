#include "tiers/fast_tier.hpp"

#include <algorithm>

namespace stillbit::tiers {
namespace {

/// Of so many slots the least counted row gives way. More find a better one at the price of a cache miss each; the
/// simulation in bench/tier_policies.py finds nothing to gain.
constexpr unsigned kSampled = 5;

/// By so much a newcomer must lead. With 1, rows that are counted alike change places for nothing, several times as
/// often.
constexpr unsigned kLead = 2;

/// Lines of a row that are requested ahead; what follows them, the processor's own prefetcher finds.
constexpr std::uint64_t kRequestedBytes = 512;

}  // namespace

std::uint64_t FastTier::bytes_for(std::uint64_t num_slots, std::uint64_t row_bytes) noexcept {
  return num_slots * (row_bytes + sizeof(std::uint32_t)) + RowMap::bytes_for(num_slots) +
         FrequencySketch::bytes_for(num_slots);
}

FastTier::FastTier(std::uint64_t num_slots, std::uint64_t row_bytes, double prefetch_share)
    : row_bytes_(row_bytes),
      num_prefetch_slots_(static_cast<std::uint64_t>(static_cast<double>(num_slots) * prefetch_share)),
      num_main_(num_slots),
      memory_(num_slots * row_bytes),
      slot_rows_(num_slots, kNone),
      map_(num_slots),
      sketch_(num_slots),
      pace_(num_slots) {}

void FastTier::prefetch_row(std::uint32_t slot) const noexcept {
  const std::byte* row = row_at(slot);
  for (std::uint64_t at = 0; at < std::min(row_bytes_, kRequestedBytes); at += 64) __builtin_prefetch(row + at);
}

void FastTier::prefetch_place(const Place& place) const noexcept {
  const std::byte* row = row_at(place.slot);
  for (std::uint64_t at = 0; at < std::min(row_bytes_, kRequestedBytes); at += 64) __builtin_prefetch(row + at, 1);
  if (place.row != kNone) map_.prefetch(hash_row(place.row));
}

FastTier::Place FastTier::choose(std::uint64_t hash, std::uint64_t num_promised) const noexcept {
  if (num_used_ + num_promised < num_main_) return {static_cast<std::uint32_t>(num_used_), kNone};
  const unsigned count = sketch_.estimate(hash);
  if (count < kLead || num_main_ == 0) return {};
  unsigned least = FrequencySketch::kMaxCount + 1;
  Place place;
  std::uint32_t at = hand_.fetch_add(kSampled, std::memory_order_relaxed);
  for (unsigned i = 0; i < kSampled; ++i, ++at) {
    const auto slot = static_cast<std::uint32_t>(at % num_main_);
    const unsigned found = sketch_.estimate(hash_row(slot_rows_[slot]));
    if (found >= least) continue;
    least = found;
    place = {slot, slot_rows_[slot]};
  }
  // Those that are looked at next: their counters lie anywhere.
  for (unsigned i = 0; i < kSampled; ++i, ++at) sketch_.prefetch(hash_row(slot_rows_[at % num_main_]));
  return count >= least + kLead ? place : Place{};
}

bool FastTier::is_open(const Place& place) const noexcept {
  if (place.slot >= num_main_) return false;
  return place.row == kNone ? num_used_ < num_main_ : slot_rows_[place.slot] == place.row;
}

void FastTier::put(std::uint32_t row, const Place& place, const std::byte* src) noexcept {
  if (const std::uint32_t found = find(row, hash_row(row)); found != kNone) vacate(found);
  if (place.row == kNone) {
    occupy(static_cast<std::uint32_t>(num_used_++), row, src);
  } else {
    vacate(place.slot);
    occupy(place.slot, row, src);
  }
}

bool FastTier::put_in_room(std::uint32_t row, const std::byte* src) noexcept {
  if (num_used_ == num_main_) return false;
  occupy(static_cast<std::uint32_t>(num_used_++), row, src);
  return true;
}

void FastTier::replace(std::uint32_t slot, const std::byte* src) noexcept {
  std::memcpy(memory_.data() + std::uint64_t{slot} * row_bytes_, src, row_bytes_);
}

void FastTier::put_prefetched(std::uint32_t row, const std::byte* src) noexcept {
  const auto slot = static_cast<std::uint32_t>(num_main_ + ring_next_);
  ring_next_ = (ring_next_ + 1) % num_prefetch_slots_;
  if (slot_rows_[slot] != kNone) vacate(slot);
  occupy(slot, row, src);
}

std::uint64_t FastTier::make_ring() noexcept {
  const std::uint64_t wanted = num_slots() - num_prefetch_slots_;
  std::uint64_t num_left = 0;
  for (; num_main_ > wanted; --num_main_) {
    if (slot_rows_[num_main_ - 1] == kNone) continue;
    vacate(static_cast<std::uint32_t>(num_main_ - 1));
    ++num_left;
  }
  num_used_ = std::min(num_used_, num_main_);
  return num_left;
}

void FastTier::clear() noexcept {
  for (std::uint32_t slot = 0; slot < slot_rows_.size(); ++slot)
    if (slot_rows_[slot] != kNone) vacate(slot);
  num_used_ = 0;
}

void FastTier::occupy(std::uint32_t slot, std::uint32_t row, const std::byte* src) noexcept {
  replace(slot, src);
  slot_rows_[slot] = row;
  map_.insert(row, slot);
  ++num_rows_;
}

void FastTier::vacate(std::uint32_t slot) noexcept {
  map_.erase(slot_rows_[slot]);
  slot_rows_[slot] = kNone;
  --num_rows_;
}

}  // namespace stillbit::tiers
