// What changes a table's values, or where its rows are, other than a lookup.

#include "api/decoder.hpp"
#include "core/checked.hpp"
#include "tiers/lookup.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <shared_mutex>

namespace stillbit {

using tiers::FastTier;
using tiers::hash_row;
using tiers::Lookup;

namespace {

/// Each row that is named, once, with the last place where it is: in the order of row numbers.
std::vector<std::uint64_t> last_places(std::span<const std::int64_t> index) {
  std::vector<std::uint64_t> places(index.size());
  std::iota(places.begin(), places.end(), std::uint64_t{0});
  std::stable_sort(places.begin(), places.end(), [&](std::uint64_t a, std::uint64_t b) { return index[a] < index[b]; });
  std::size_t count = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const bool is_last = i + 1 == places.size() || index[places[i]] != index[places[i + 1]];
    if (is_last) places[count++] = places[i];
  }
  places.resize(count);
  return places;
}

std::string byte_count(std::uint64_t num_bytes) {
  return std::to_string(num_bytes) + " bytes";
}

}  // namespace

template <class Index>
Result<void> TieredTable::Impl::update(std::span<const Index> index, Bytes rows) {
  const auto wanted = checked_mul(index.size(), geometry.row_bytes);
  if (!wanted || *wanted != rows.size()) {
    return invalid(std::to_string(index.size()) + " rows of " + byte_count(geometry.row_bytes) + " were named, " +
                   byte_count(rows.size()) + " given");
  }
  STILLBIT_CHECK(check_indices(index, geometry.num_rows));
  const std::vector<std::int64_t> wide(index.begin(), index.end());
  if (rows.empty()) {
    const std::shared_lock lock(mutex);
    return check_open();
  }
  return is_mutable ? update_in_place(wide, rows) : update_in_pool(wide, rows);
}

template Result<void> TieredTable::Impl::update(std::span<const std::int32_t>, Bytes);
template Result<void> TieredTable::Impl::update(std::span<const std::int64_t>, Bytes);

Result<void> TieredTable::Impl::update_in_place(std::span<const std::int64_t> index, Bytes rows) {
  const std::lock_guard lock(mutex);
  STILLBIT_CHECK(check_open());
  if (options.warm_bytes) {
    // What earlier updates left behind is given up first.
    if (base->memory_bytes_with(rows) > *options.warm_bytes) base->tensor.compact();
    if (const std::uint64_t needed = base->memory_bytes_with(rows); needed > *options.warm_bytes) {
      return invalid("the warm tier has a budget of " + byte_count(*options.warm_bytes) +
                     ", and with these rows would take " + byte_count(needed) + ": nothing was updated");
    }
  }
  base->tensor.update(index, rows);
  rewrite_fast(index, rows);
  return {};
}

Result<void> TieredTable::Impl::update_in_pool(std::span<const std::int64_t> index, Bytes rows) {
  std::vector<std::uint32_t> updated;
  std::vector<const std::byte*> sources;
  for (const std::uint64_t at : last_places(index)) {
    updated.push_back(static_cast<std::uint32_t>(index[at]));
    sources.push_back(rows.data() + at * geometry.row_bytes);
  }
  std::vector<std::uint32_t> sizes(updated.size());
  const std::lock_guard lock(mutex);
  STILLBIT_CHECK(check_open());
  if (!pool) {
    return invalid("rows of a tensor that is mapped or packed are updated in the warm tier, which has a budget of " +
                   byte_count(options.warm_bytes.value_or(0)) + " and no room for a row: nothing was updated");
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = pool->measure(sources[i]);
  if (const std::uint64_t needed = pool->units_with(updated, sizes); needed > pool->num_units()) {
    return invalid("the warm tier, with a budget of " + byte_count(options.warm_bytes.value_or(0)) + ", has room for " +
                   byte_count(pool->num_units() * pool->unit_bytes()) + " of updated rows; with these there would be " +
                   std::to_string(needed * pool->unit_bytes()) + ": nothing was updated");
  }
  std::uint64_t num_evicted = 0;
  pool->update(updated, sources, num_evicted);
  tiers::add(counters.warm.num_evicted, num_evicted);
  rewrite_fast(index, rows);
  return {};
}

void TieredTable::Impl::rewrite_fast(std::span<const std::int64_t> index, Bytes rows) noexcept {
  for (std::size_t i = 0; i < index.size(); ++i) {
    const auto row = static_cast<std::uint32_t>(index[i]);
    const std::uint64_t hash = hash_row(row);
    ++version_of(hash);
    if (!fast) continue;
    const std::uint32_t slot = fast->find(row, hash);
    if (slot != FastTier::kNone) fast->replace(slot, rows.data() + i * geometry.row_bytes);
  }
  tiers::add(counters.num_updated, index.size());
}

Result<void> TieredTable::Impl::place(std::span<const std::uint64_t> counts) {
  if (counts.size() != geometry.num_rows) {
    return invalid("there are " + std::to_string(counts.size()) + " counts, and " + std::to_string(geometry.num_rows) +
                   " rows");
  }
  std::vector<std::uint32_t> order;
  for (std::uint32_t row = 0; row < counts.size(); ++row)
    if (counts[row] > 0) order.push_back(row);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return counts[a] > counts[b]; });
  const std::lock_guard lock(mutex);
  STILLBIT_CHECK(check_open());
  if (fast) tiers::add(counters.fast.num_evicted, fast->num_rows());
  if (fast) fast->clear();
  if (pool) pool->clear();
  Lookup lookup(*this, Lookup::Purpose::kReadOnly);
  for (std::uint64_t begin = 0; begin < order.size(); begin += piece_rows()) {
    const std::uint64_t count = std::min<std::uint64_t>(piece_rows(), order.size() - begin);
    STILLBIT_TRY(const bool has_room, lookup.place(std::span(order).subspan(begin, count)));
    if (!has_room) break;
  }
  return {};
}

Result<std::uint64_t> TieredTable::Impl::prefetch(std::span<const std::int64_t> index, bool in_background) {
  STILLBIT_CHECK(check_indices(index, geometry.num_rows));
  std::uint64_t room = 0;
  {
    const std::lock_guard lock(mutex);
    STILLBIT_CHECK(check_open());
    room = fast ? fast->num_prefetch_slots() : 0;
    if (room > 0) tiers::add(counters.fast.num_evicted, fast->make_ring());
  }
  const std::uint64_t count = std::min<std::uint64_t>(room, index.size());
  const std::vector<std::uint32_t> rows(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(count));
  if (in_background) return prefetcher->add(rows, room);
  STILLBIT_CHECK(pull(rows));
  return count;
}

Result<void> TieredTable::Impl::pull(std::span<const std::uint32_t> rows) {
  Lookup lookup(*this, Lookup::Purpose::kReadOnly);
  for (std::uint64_t begin = 0; begin < rows.size(); begin += piece_rows()) {
    const std::uint64_t count = std::min<std::uint64_t>(piece_rows(), rows.size() - begin);
    STILLBIT_CHECK(lookup.prefetch(rows.subspan(begin, count)));
  }
  return {};
}

}  // namespace stillbit
