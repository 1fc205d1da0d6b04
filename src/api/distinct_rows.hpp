#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

// Rows that a gather names more than once: to copy one takes less time than to expand it again.

namespace stillbit {

/// Tells rows of a gather from those that came before: looks them up by a few bits of their number, and knows one row
/// for each value of these. What it knows stays in the first-level cache.
template <class Index>
class EarlierRows {
 public:
  EarlierRows(std::span<const Index> index, std::uint64_t num_looked_at)
      : index_(index), mask_(std::min(kMostPlaces, std::bit_ceil(num_looked_at)) - 1) {
    // What a place says is compared: at first, that it has row 0 of the gather.
    std::fill_n(last_.begin(), mask_ + 1, 0);
  }

  /// Where row `i` of the gather comes before, or `i`. Asked in order.
  [[nodiscard]] std::uint64_t find(std::uint64_t i) {
    const Index row = index_[i];
    std::uint32_t& last = last_[static_cast<std::uint64_t>(row) & mask_];
    if (index_[last] == row) return last;
    last = static_cast<std::uint32_t>(i);
    return i;
  }

 private:
  static constexpr std::uint64_t kMostPlaces = 1024;

  std::span<const Index> index_;
  std::uint64_t mask_;
  std::array<std::uint32_t, kMostPlaces> last_;
};

/// Whether so many rows of a gather come more than once that to look for them takes less time than to expand them:
/// an eighth of the first 256, which are looked at in less than half a microsecond.
template <class Index>
[[nodiscard]] bool has_repeats(std::span<const Index> index) {
  constexpr std::uint64_t kSampledRows = 256;
  constexpr std::uint64_t kWorthwhileShare = 8;
  const std::uint64_t count = std::min<std::uint64_t>(index.size(), kSampledRows);
  if (count < kWorthwhileShare) return false;
  EarlierRows earlier(index, count);
  std::uint64_t num_found = 0;
  for (std::uint64_t i = 0; i < count; ++i) num_found += earlier.find(i) != i;
  return num_found >= count / kWorthwhileShare;
}

/// The rows of a gather, most of them once. Less than 2^32.
template <class Index>
class DistinctRows {
 public:
  explicit DistinctRows(std::span<const Index> index) : places_(index.size()) {
    rows_.reserve(index.size());
    EarlierRows earlier(index, index.size());
    for (std::uint64_t i = 0; i < index.size(); ++i) {
      const std::uint64_t found = earlier.find(i);
      places_[i] = found < i ? places_[found] : static_cast<std::uint32_t>(rows_.size());
      if (found == i) rows_.push_back(index[i]);
    }
  }

  [[nodiscard]] std::span<const Index> rows() const noexcept { return rows_; }

  /// Puts rows(), which begin at `dst`, to all places where they belong. From the end on: no row is before its place
  /// among rows(), so that none is written over which is still to be copied.
  void spread(std::byte* dst, std::uint64_t row_bytes) const noexcept {
    for (std::uint64_t i = places_.size(); i > 0 && places_[i - 1] != i - 1; --i)
      std::memcpy(dst + (i - 1) * row_bytes, dst + places_[i - 1] * row_bytes, row_bytes);
  }

 private:
  std::vector<Index> rows_;
  std::vector<std::uint32_t> places_;  ///< in rows_
};

}  // namespace stillbit
