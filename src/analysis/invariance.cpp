#include "analysis/invariance.hpp"

#include "core/checked.hpp"

#include <algorithm>

namespace stillbit::analysis {
namespace {

/// Of fewer rows columns say little: of two rows every bit is the same in one or in both.
constexpr std::uint64_t kMinRows = 16;

constexpr std::uint64_t kPendingBytes = std::uint64_t{1} << 20;

float commoner_share(std::uint64_t num_ones, std::uint64_t count) {
  return count == 0 ? 1.0F : static_cast<float>(std::max(num_ones, count - num_ones)) / static_cast<float>(count);
}

}  // namespace

InvarianceCounts::InvarianceCounts(const format::PayloadHeader& header, std::uint64_t max_parts)
    : tile_bytes_(header.tile_bytes),
      element_bytes_(num_bytes(header.dtype)),
      is_by_stretch_(header.geometry.num_rows < kMinRows || header.geometry.row_bytes > kMaxCountedRowBytes ||
                     header.tile_bytes % header.geometry.row_bytes != 0),
      num_columns_((is_by_stretch_ ? header.geometry.num_bytes() : header.geometry.row_bytes) / element_bytes_),
      columns_per_part_(ceil_div(num_columns_, max_parts)),
      num_parts_(ceil_div(num_columns_, columns_per_part_)) {
  if (is_by_stretch_) {
    counts_.assign(num_parts_, BitStatistics(element_bytes_));
  } else {
    counts_.emplace_back(header.geometry.row_bytes);
  }
}

void InvarianceCounts::add(std::uint64_t tile, Bytes bytes) {
  if (is_by_stretch_) return add_to_stretches(tile, bytes);
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  if (pending_.size() >= kPendingBytes) add_pending();
}

void InvarianceCounts::add_pending() {
  counts_[0].add(pending_);
  pending_.clear();
}

void InvarianceCounts::add_to_stretches(std::uint64_t tile, Bytes bytes) {
  // A tile may end in another stretch than it starts in.
  const std::uint64_t first = tile * tile_bytes_ / element_bytes_;
  const std::uint64_t end = first + bytes.size() / element_bytes_;
  for (std::uint64_t at = first; at < end;) {
    const std::uint64_t part = at / columns_per_part_;
    const std::uint64_t next = std::min(end, (part + 1) * columns_per_part_);
    counts_[part].add(bytes.subspan((at - first) * element_bytes_, (next - at) * element_bytes_));
    at = next;
  }
}

Invariance InvarianceCounts::result() {
  if (!pending_.empty()) add_pending();
  Invariance result = is_by_stretch_ ? by_stretch() : by_column();
  result.is_by_stretch = is_by_stretch_;
  result.num_bits = 8 * element_bytes_;
  result.num_columns = num_columns_;
  result.columns_per_part = columns_per_part_;
  result.num_parts = num_parts_;
  return result;
}

Invariance InvarianceCounts::by_stretch() const {
  Invariance result;
  for (const BitStatistics& counted : counts_) {
    for (const std::uint64_t num_ones : counted.ones())
      result.shares.push_back(commoner_share(num_ones, counted.num_rows()));
  }
  return result;
}

Invariance InvarianceCounts::by_column() const {
  Invariance result;
  const std::uint64_t num_bits = std::uint64_t{8} * element_bytes_;
  const std::vector<std::uint64_t> ones = counts_[0].ones();
  for (std::uint64_t part = 0; part < num_parts_; ++part) {
    const std::uint64_t begin = part * columns_per_part_;
    const std::uint64_t end = std::min(num_columns_, begin + columns_per_part_);
    for (std::uint64_t bit = 0; bit < num_bits; ++bit) {
      float sum = 0;
      for (std::uint64_t column = begin; column < end; ++column)
        sum += commoner_share(ones[column * num_bits + bit], counts_[0].num_rows());
      result.shares.push_back(sum / static_cast<float>(end - begin));
    }
  }
  return result;
}

}  // namespace stillbit::analysis
