#include "tiers/lookup.hpp"

#include "api/decoder.hpp"

#include <mutex>
#include <shared_mutex>

namespace stillbit::tiers {
namespace {

/// So many rows ahead a row's place in the map is requested, and its bytes: about what a core has
/// loads under way at once.
constexpr std::uint64_t kAhead = 12;

}  // namespace

Result<void> Lookup::run(std::span<const std::uint32_t> rows, std::byte* out) {
  moves_.clear();
  is_due_ = false;
  std::shared_ptr<const Base> mapped;
  {
    const std::shared_lock lock(table_.mutex);
    STILLBIT_CHECK(table_.check_open());
    adapts_ = is_piece_counted();
    find_in_fast(rows, out);
    if (adapts_) choose_moves(rows);
    STILLBIT_CHECK(find_in_pool(rows, out));
    if (table_.is_mapped) {
      mapped = table_.base;
    } else {
      STILLBIT_CHECK(read_base(*table_.base, rows, out));
    }
  }
  if (mapped) STILLBIT_CHECK(read_base(*mapped, rows, out));
  if (!moves_.empty() || is_due_) make_moves(rows, out);
  return {};
}

/// All are where a row that is missed is read from a file.
bool Lookup::is_piece_counted() const noexcept {
  if (!is_adaptive_ || (!table_.fast && !table_.pool)) return false;
  return table_.is_mapped || !table_.fast || table_.fast->pace().is_counted();
}

void Lookup::find_in_fast(std::span<const std::uint32_t> rows, std::byte* out) {
  const std::uint64_t count = rows.size();
  const std::uint64_t row_bytes = table_.geometry.row_bytes;
  const FastTier* const fast = table_.fast.get();
  hashes_.resize(count);
  slots_.resize(count);
  if (fast == nullptr) {
    left_.clear();
    for (std::uint32_t at = 0; at < count; ++at) {
      hashes_[at] = hash_row(rows[at]);
      left_.push_back(at);
    }
    missed_ = left_;
    return;
  }
  for (std::uint64_t i = 0; i < count + kAhead; ++i) {
    if (i < count) {
      hashes_[i] = hash_row(rows[i]);
      fast->prefetch_map(hashes_[i]);
      if (adapts_) fast->sketch().prefetch(hashes_[i]);
    }
    if (i < kAhead) continue;
    const std::uint64_t at = i - kAhead;
    slots_[at] = fast->find(rows[at], hashes_[at]);
    if (adapts_) fast->sketch().count(hashes_[at]);
  }
  sort_out(*fast);
  copy_found(*fast, out);
  if (adapts_) is_due_ = fast->sketch().note(count);
  if (!is_counting_) return;
  fast->pace().note(count, count - left_.size());
  add(table_.counters.fast.num_lookups, count - left_.size());
  add(table_.counters.fast.bytes_read, (count - left_.size()) * row_bytes);
  add(table_.counters.num_prefetch_hits, missed_.size() - left_.size());
}

/// Says which rows are where. Without branches: where a row is, is hard to foretell.
void Lookup::sort_out(const FastTier& fast) {
  const std::uint64_t count = slots_.size();
  for (auto* places : {&found_, &missed_, &left_}) places->resize(count);
  std::uint64_t num_found = 0;
  std::uint64_t num_missed = 0;
  std::uint64_t num_left = 0;
  for (std::uint32_t at = 0; at < count; ++at) {
    const bool is_there = slots_[at] != FastTier::kNone;
    found_[num_found] = at;
    missed_[num_missed] = at;
    left_[num_left] = at;
    num_found += is_there ? 1 : 0;
    num_missed += fast.is_prefetched(slots_[at]) ? 1 : 0;  // as none is, which is no slot
    num_left += is_there ? 0 : 1;
  }
  found_.resize(num_found);
  missed_.resize(num_missed);
  left_.resize(num_left);
}

void Lookup::copy_found(const FastTier& fast, std::byte* out) {
  const std::uint64_t row_bytes = table_.geometry.row_bytes;
  const std::uint64_t count = found_.size();
  for (std::uint64_t i = 0; i < count + kAhead; ++i) {
    if (i < count) fast.prefetch_row(slots_[found_[i]]);
    if (i < kAhead) continue;
    const std::uint64_t at = found_[i - kAhead];
    std::memcpy(out + at * row_bytes, fast.row_at(slots_[at]), row_bytes);
  }
}

void Lookup::choose_moves(std::span<const std::uint32_t> rows) {
  const WarmPool* const pool = table_.is_mapped ? table_.pool.get() : nullptr;
  std::uint64_t num_promised = 0;
  for (const std::uint32_t at : missed_) {
    const std::uint64_t hash = hashes_[at];
    Move move{at, table_.version_of(hash), {}};
    if (table_.fast) move.place = table_.fast->choose(hash, num_promised);
    const bool is_free = move.place.slot != FastTier::kNone && move.place.row == FastTier::kNone;
    num_promised += is_free ? 1 : 0;
    const bool is_for_pool = pool != nullptr && pool->may_take(rows[at], hash);
    if (move.place.slot == FastTier::kNone && !is_for_pool) continue;
    moves_.push_back(move);
    if (move.place.slot != FastTier::kNone) table_.fast->prefetch_place(move.place);
  }
}

Result<void> Lookup::find_in_pool(std::span<const std::uint32_t> rows, std::byte* out) {
  const WarmPool* const pool = table_.pool.get();
  if (pool == nullptr || left_.empty()) return {};
  const std::uint64_t num_before = left_.size();
  std::uint64_t num_bytes = 0;
  std::uint64_t num_left = 0;
  for (const std::uint32_t at : left_) {
    if (adapts_) pool->sketch().count(hashes_[at]);
    const std::uint32_t unit = pool->find(rows[at], hashes_[at]);
    if (unit == WarmPool::kNone) {
      left_[num_left++] = at;
      continue;
    }
    if (!pool->expand(unit, out + at * table_.geometry.row_bytes, scratch_))
      return corrupt("row " + std::to_string(rows[at]) + " is malformed in the warm tier");
    num_bytes += pool->stored_bytes(unit);
  }
  left_.resize(num_left);
  if (adapts_ && pool->sketch().note(num_before)) is_due_ = true;
  if (!is_counting_) return {};
  add(table_.counters.warm.num_lookups, num_before - num_left);
  add(table_.counters.warm.bytes_read, num_bytes);
  return {};
}

Result<void> Lookup::read_base(const Base& base, std::span<const std::uint32_t> rows, std::byte* out) {
  if (left_.empty()) return {};
  STILLBIT_CHECK(base.file.check());
  STILLBIT_CHECK(expand_base(base, rows, out));
  if (!is_counting_) return {};
  TierCounters& counters = table_.is_mapped ? table_.counters.cold : table_.counters.warm;
  add(counters.num_lookups, left_.size());
  add(counters.bytes_read, static_cast<std::uint64_t>(static_cast<double>(left_.size()) * table_.mean_stored_bytes));
  return {};
}

Result<void> Lookup::expand_base(const Base& base, std::span<const std::uint32_t> rows, std::byte* out) {
  const std::uint64_t row_bytes = table_.geometry.row_bytes;
  index_.clear();
  for (const std::uint32_t at : left_) index_.push_back(rows[at]);
  const auto expand = [&](std::byte* dst) {
    return with_decoder(base.tensor.impl(), [&](const Decoder& decoder) {
      return decoder.gather(std::span<const std::int64_t>(index_), dst, 1);
    });
  };
  if (left_.size() == rows.size()) return expand(out);
  expanded_.resize(left_.size() * row_bytes);
  STILLBIT_CHECK(expand(expanded_.data()));
  for (std::size_t i = 0; i < left_.size(); ++i)
    std::memcpy(out + left_[i] * row_bytes, expanded_.data() + i * row_bytes, row_bytes);
  return {};
}

void Lookup::make_moves(std::span<const std::uint32_t> rows, const std::byte* out) {
  const std::lock_guard lock(table_.mutex);
  if (table_.is_closed) return;
  for (const Move& candidate : moves_) {
    // What was read before an update is not what the row is now.
    if (table_.version_of(hashes_[candidate.at]) != candidate.version) continue;
    move(rows[candidate.at], candidate.place, out + candidate.at * table_.geometry.row_bytes);
  }
  if (!is_due_) return;
  if (table_.fast) table_.fast->sketch().halve();
  if (table_.pool) table_.pool->sketch().halve();
}

void Lookup::move(std::uint32_t row, const FastTier::Place& place, const std::byte* src) {
  FastTier* const fast = table_.fast.get();
  WarmPool* const pool = table_.is_mapped ? table_.pool.get() : nullptr;
  const auto offer = [&](std::uint32_t offered, const std::byte* bytes) {
    std::uint64_t num_evicted = 0;
    if (pool->offer(offered, bytes, fast, num_evicted)) add(table_.counters.warm.num_filled, 1);
    add(table_.counters.warm.num_evicted, num_evicted);
  };
  const std::uint32_t found = fast == nullptr ? FastTier::kNone : fast->find(row, hash_row(row));
  if (found != FastTier::kNone && !fast->is_prefetched(found)) return;
  if (place.slot == FastTier::kNone || !fast->is_open(place)) {
    if (pool != nullptr) offer(row, src);
    return;
  }
  // The row that gives way is compressed before it is gone; it was looked up more often than most in the pool.
  if (pool != nullptr && place.row != FastTier::kNone) offer(place.row, fast->row_at(place.slot));
  fast->put(row, place, src);
  add(table_.counters.fast.num_filled, 1);
  add(table_.counters.fast.num_evicted, place.row == FastTier::kNone ? 0 : 1);
}

Result<void> Lookup::prefetch(std::span<const std::uint32_t> rows) {
  const std::uint64_t row_bytes = table_.geometry.row_bytes;
  pulled_.resize(rows.size() * row_bytes);
  moves_.clear();
  std::shared_ptr<const Base> mapped;
  {
    const std::shared_lock lock(table_.mutex);
    STILLBIT_CHECK(table_.check_open());
    left_.clear();
    hashes_.resize(rows.size());
    for (std::uint32_t at = 0; at < rows.size(); ++at) {
      hashes_[at] = hash_row(rows[at]);
      if (table_.fast->find(rows[at], hashes_[at]) != FastTier::kNone) continue;
      left_.push_back(at);
      moves_.push_back({at, table_.version_of(hashes_[at]), {}});
    }
    STILLBIT_CHECK(find_in_pool(rows, pulled_.data()));
    if (table_.is_mapped) {
      mapped = table_.base;
    } else {
      STILLBIT_CHECK(read_base(*table_.base, rows, pulled_.data()));
    }
  }
  if (mapped) STILLBIT_CHECK(read_base(*mapped, rows, pulled_.data()));
  const std::lock_guard lock(table_.mutex);
  if (table_.is_closed) return {};
  for (const Move& pulled : moves_) {
    const std::uint32_t row = rows[pulled.at];
    const std::uint64_t hash = hashes_[pulled.at];
    if (table_.version_of(hash) != pulled.version || table_.fast->find(row, hash) != FastTier::kNone) continue;
    table_.fast->put_prefetched(row, pulled_.data() + pulled.at * row_bytes);
    add(table_.counters.num_prefetched, 1);
  }
  return {};
}

Result<bool> Lookup::place(std::span<const std::uint32_t> rows) {
  pulled_.resize(rows.size() * table_.geometry.row_bytes);
  left_.clear();
  hashes_.resize(rows.size());
  for (std::uint32_t at = 0; at < rows.size(); ++at) {
    hashes_[at] = hash_row(rows[at]);
    left_.push_back(at);
  }
  STILLBIT_CHECK(find_in_pool(rows, pulled_.data()));
  STILLBIT_CHECK(read_base(*table_.base, rows, pulled_.data()));
  WarmPool* const pool = table_.is_mapped ? table_.pool.get() : nullptr;
  for (std::uint32_t at = 0; at < rows.size(); ++at) {
    const std::byte* const src = pulled_.data() + at * table_.geometry.row_bytes;
    if (table_.fast && table_.fast->put_in_room(rows[at], src)) {
      add(table_.counters.fast.num_filled, 1);
    } else if (pool != nullptr && pool->place(rows[at], src)) {
      add(table_.counters.warm.num_filled, 1);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace stillbit::tiers
