#include "tiers/warm_pool.hpp"

#include "core/checked.hpp"
#include "tiers/fast_tier.hpp"

#include <algorithm>

namespace stillbit::tiers {
namespace {

/// As in the fast tier.
constexpr unsigned kSampled = 5;
constexpr unsigned kLead = 2;

/// Units that are looked at to find so many rows that may leave: where updated rows take nearly all, none is found.
constexpr unsigned kMaxSteps = 32;

}  // namespace

std::uint64_t WarmPool::bytes_for(std::uint64_t num_units, std::uint64_t unit_bytes, std::uint64_t row_bytes) noexcept {
  const std::uint64_t per_unit = unit_bytes + 3 * sizeof(std::uint32_t) + sizeof(Kind);
  return num_units * per_unit + RowCodec::kSlack + RowMap::bytes_for(num_units) +
         FrequencySketch::bytes_for(num_units) + row_bytes + RowCodec::kSlack;
}

WarmPool::WarmPool(std::shared_ptr<const RowCodec> codec, std::uint64_t num_units, std::uint64_t unit_bytes,
                   std::uint64_t row_bytes)
    : codec_(std::move(codec)),
      unit_bytes_(unit_bytes),
      row_bytes_(row_bytes),
      memory_(num_units * unit_bytes + RowCodec::kSlack),
      next_(num_units),
      rows_(num_units),
      sizes_(num_units),
      kinds_(num_units, Kind::kOther),
      map_(num_units),
      sketch_(num_units),
      encoded_(row_bytes + RowCodec::kSlack),
      first_free_(0),
      num_free_(num_units) {
  for (std::uint32_t unit = 0; unit < num_units; ++unit) next_[unit] = unit + 1 < num_units ? unit + 1 : kNone;
  // Behind the last unit kernels may read, and what they read there means nothing; but it has to be something.
  std::memset(memory_.data() + num_units * unit_bytes, 0, RowCodec::kSlack);
}

std::uint64_t WarmPool::units_of(std::uint64_t size) const noexcept {
  return std::max<std::uint64_t>(1, ceil_div(size, unit_bytes_));
}

bool WarmPool::expand(std::uint32_t unit, std::byte* dst, std::vector<std::byte>& scratch) const {
  const std::uint64_t size = sizes_[unit];
  StoredRow stored{memory_.data() + std::uint64_t{unit} * unit_bytes_, size, size == row_bytes_};
  if (size > unit_bytes_) {
    scratch.resize(row_bytes_ + RowCodec::kSlack);
    for (std::uint64_t at = 0; at < size; at += unit_bytes_, unit = next_[unit]) {
      std::memcpy(scratch.data() + at, memory_.data() + std::uint64_t{unit} * unit_bytes_,
                  std::min(unit_bytes_, size - at));
    }
    stored.data = scratch.data();
  }
  if (stored.is_raw) {
    std::memcpy(dst, stored.data, row_bytes_);
    return true;
  }
  return codec_->decode(&stored, 1, dst) == 1;
}

bool WarmPool::may_take(std::uint32_t row, std::uint64_t hash) const noexcept {
  return (num_free_ > 0 || sketch_.estimate(hash) + 1 >= kLead) && find(row, hash) == kNone;
}

std::uint32_t WarmPool::measure(const std::byte* src) const {
  std::uint32_t size = 0;
  codec_->measure(src, 1, &size);
  return size;
}

std::uint32_t WarmPool::choose_victim(const FastTier* fast, unsigned& least) noexcept {
  std::uint32_t victim = kNone;
  least = FrequencySketch::kMaxCount + 1;
  unsigned num_sampled = 0;
  for (unsigned step = 0; step < kMaxSteps && num_sampled < kSampled; ++step) {
    const auto unit = static_cast<std::uint32_t>(hand_);
    hand_ = hand_ + 1 == num_units() ? 0 : hand_ + 1;
    if (kinds_[unit] != Kind::kCopy) continue;
    ++num_sampled;
    const std::uint64_t hash = hash_row(rows_[unit]);
    const bool is_needed = fast == nullptr || fast->find(rows_[unit], hash) == FastTier::kNone;
    const unsigned count = is_needed ? sketch_.estimate(hash) : 0;
    if (count >= least) continue;
    least = count;
    victim = unit;
  }
  return victim;
}

bool WarmPool::offer(std::uint32_t row, const std::byte* src, const FastTier* fast, std::uint64_t& num_evicted) {
  const std::uint64_t hash = hash_row(row);
  if (find(row, hash) != kNone) return false;
  const unsigned count = sketch_.estimate(hash);
  if (num_free_ == 0 && count < kLead) return false;
  const std::uint64_t size = codec_->encode(src, encoded_.data());
  while (num_free_ < units_of(size)) {
    unsigned least = 0;
    const std::uint32_t victim = choose_victim(fast, least);
    if (victim == kNone || count < least + kLead) return false;
    remove(victim);
    ++num_evicted;
  }
  store_encoded(row, size, Kind::kCopy);
  return true;
}

bool WarmPool::place(std::uint32_t row, const std::byte* src) {
  if (find(row, hash_row(row)) != kNone) return true;
  const std::uint64_t size = codec_->encode(src, encoded_.data());
  if (num_free_ < units_of(size)) return false;
  store_encoded(row, size, Kind::kCopy);
  return true;
}

std::uint64_t WarmPool::units_with(const std::vector<std::uint32_t>& rows,
                                   const std::vector<std::uint32_t>& sizes) const noexcept {
  std::uint64_t num_wanted = num_updated_units_;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::uint32_t unit = find(rows[i], hash_row(rows[i]));
    if (unit != kNone && kinds_[unit] == Kind::kUpdated) num_wanted -= units_of(sizes_[unit]);
    num_wanted += units_of(sizes[i]);
  }
  return num_wanted;
}

void WarmPool::update(const std::vector<std::uint32_t>& rows, const std::vector<const std::byte*>& sources,
                      std::uint64_t& num_evicted) noexcept {
  for (const std::uint32_t row : rows) {
    const std::uint32_t unit = find(row, hash_row(row));
    if (unit != kNone) remove(unit);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::uint64_t size = codec_->encode(sources[i], encoded_.data());
    for (; num_free_ < units_of(size); hand_ = hand_ + 1 == num_units() ? 0 : hand_ + 1) {
      if (kinds_[hand_] != Kind::kCopy) continue;
      remove(static_cast<std::uint32_t>(hand_));
      ++num_evicted;
    }
    store_encoded(rows[i], size, Kind::kUpdated);
  }
}

void WarmPool::clear() noexcept {
  for (std::uint32_t unit = 0; unit < num_units(); ++unit)
    if (kinds_[unit] == Kind::kCopy) remove(unit);
}

void WarmPool::remove(std::uint32_t unit) noexcept {
  const std::uint64_t count = units_of(sizes_[unit]);
  if (kinds_[unit] == Kind::kUpdated) {
    --num_updated_;
    num_updated_units_ -= count;
  }
  map_.erase(rows_[unit]);
  kinds_[unit] = Kind::kOther;
  std::uint32_t last = unit;
  for (std::uint64_t i = 1; i < count; ++i) last = next_[last];
  next_[last] = first_free_;
  first_free_ = unit;
  num_free_ += count;
  --num_rows_;
}

void WarmPool::store_encoded(std::uint32_t row, std::uint64_t size, Kind kind) noexcept {
  const std::uint32_t first = first_free_;
  std::uint32_t unit = first;
  for (std::uint64_t at = 0;;) {
    std::memcpy(memory_.data() + std::uint64_t{unit} * unit_bytes_, encoded_.data() + at,
                std::min(unit_bytes_, size - at));
    at += unit_bytes_;
    if (at >= size) break;
    unit = next_[unit];
  }
  first_free_ = next_[unit];
  next_[unit] = kNone;
  rows_[first] = row;
  sizes_[first] = static_cast<std::uint32_t>(size);
  kinds_[first] = kind;
  map_.insert(row, first);
  const std::uint64_t count = units_of(size);
  num_free_ -= count;
  ++num_rows_;
  if (kind == Kind::kUpdated) {
    ++num_updated_;
    num_updated_units_ += count;
  }
}

}  // namespace stillbit::tiers
