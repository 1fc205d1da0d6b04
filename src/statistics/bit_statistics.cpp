#include "statistics/bit_statistics.hpp"

#include "statistics/positional_count.hpp"

#include <numeric>

namespace stillbit {

void BitStatistics::add(Bytes rows) {
  // Rows are counted in laps: runs of whole rows that fill whole strips.
  const std::uint64_t lap_bytes = row_bytes_ * (kStripBytes / std::gcd(row_bytes_, kStripBytes));
  const std::uint64_t num_laps = rows.size() / lap_bytes;
  if (num_laps > 0) {
    std::vector<std::uint64_t> lap_ones(8 * lap_bytes);
    count_positions(rows.data(), num_laps, lap_bytes, lap_ones.data());
    for (std::uint64_t i = 0; i < lap_ones.size(); ++i) ones_[i % ones_.size()] += lap_ones[i];
  }
  for (std::uint64_t i = num_laps * lap_bytes; i < rows.size(); ++i) {
    const auto byte = static_cast<unsigned>(rows[i]);
    for (unsigned bit = 0; bit < 8; ++bit) ones_[i % row_bytes_ * 8 + bit] += byte >> bit & 1;
  }
  num_rows_ += rows.size() / row_bytes_;
}

void BitStatistics::merge(const BitStatistics& other) {
  for (std::size_t i = 0; i < ones_.size(); ++i) ones_[i] += other.ones_[i];
  num_rows_ += other.num_rows_;
}

BitStatistics BitStatistics::folded(std::uint64_t row_bytes) const {
  BitStatistics result(row_bytes);
  for (std::size_t i = 0; i < ones_.size(); ++i) result.ones_[i % result.ones_.size()] += ones_[i];
  result.num_rows_ = num_rows_ * (row_bytes_ / row_bytes);
  return result;
}

}  // namespace stillbit
