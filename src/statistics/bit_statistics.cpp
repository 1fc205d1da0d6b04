#include "core/bytes.hpp"
#include "statistics/positional_count.hpp"

#include <stillbit/error.hpp>
#include <stillbit/statistics.hpp>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

namespace stillbit {
namespace {

/// Of rows from this length on, the part of a vector at their end matters little. Shorter ones are counted in laps that
/// have no such part.
constexpr std::uint64_t kLongRowBytes = 1024;

/// Four counts beside each other in one word: entry b has a 1 in lane i where bit i of b is 1.
constexpr unsigned kLaneBits = 16;
constexpr std::uint64_t kLaneMask = 0xFFFF;
constexpr auto kLanesOfBits = [] {
  std::array<std::uint64_t, 16> lanes{};
  for (unsigned bits = 0; bits < 16; ++bits) {
    for (unsigned i = 0; i < 4; ++i) lanes[bits] |= std::uint64_t{bits >> i & 1} << (kLaneBits * i);
  }
  return lanes;
}();

std::uint64_t checked_row_bytes(std::uint64_t row_bytes) {
  if (row_bytes > 0) return row_bytes;
  throw Error(ErrorCode::kInvalidArgument, "rows of no bytes have no bits to count");
}

}  // namespace

BitStatistics::BitStatistics(std::uint64_t row_bytes)
    : row_bytes_(checked_row_bytes(row_bytes)),
      lap_bytes_(row_bytes < kLongRowBytes ? std::lcm(row_bytes, kPlaneBytes) : row_bytes),
      ones_(8 * row_bytes) {}

BitStatistics::BitStatistics(std::uint64_t num_rows, std::vector<std::uint64_t> ones) : BitStatistics(ones.size() / 8) {
  const bool is_possible = ones.size() % 8 == 0 && std::all_of(ones.begin(), ones.end(),
                                                               [&](std::uint64_t count) { return count <= num_rows; });
  if (!is_possible) {
    throw Error(ErrorCode::kInvalidArgument, "the counts are not of the bits of " + std::to_string(num_rows) + " rows");
  }
  num_rows_ = num_rows;
  ones_ = std::move(ones);
}

void BitStatistics::add(Bytes rows) {
  if (rows.size() % row_bytes_ != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                std::to_string(rows.size()) + " bytes are not whole rows of " + std::to_string(row_bytes_) + " bytes");
  }
  num_rows_ += rows.size() / row_bytes_;
  for (std::uint64_t num_laps = rows.size() / lap_bytes_; num_laps > 0;) {
    planes_.resize(plane_bytes_of(lap_bytes_));
    const std::uint64_t count = std::min(num_laps, kMaxPlaneRows - num_plane_laps_);
    add_to_planes(rows.data(), count, lap_bytes_, planes_.data());
    num_plane_laps_ += count;
    num_laps -= count;
    rows = rows.subspan(count * lap_bytes_);
    if (num_plane_laps_ == kMaxPlaneRows) {
      read_out_planes(ones_);
      planes_.assign(planes_.size(), std::byte{0});
      num_plane_laps_ = 0;
    }
  }
  for (std::uint64_t i = 0; i < rows.size(); ++i) {
    const auto byte = static_cast<unsigned>(rows[i]);
    for (unsigned bit = 0; bit < 8; ++bit) ones_[i % row_bytes_ * 8 + bit] += byte >> bit & 1;
  }
}

void BitStatistics::read_out_planes(std::vector<std::uint64_t>& ones) const {
  static_assert(kNumPlanes <= kLaneBits, "a count fits into a lane");
  if (num_plane_laps_ == 0) return;
  std::uint64_t place = 0;  // in the row
  for (std::uint64_t i = 0; i < lap_bytes_; ++i) {
    const std::byte* plane = planes_.data() + i / kPlaneBytes * kNumPlanes * kPlaneBytes + i % kPlaneBytes;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    for (unsigned level = 0; num_plane_laps_ >> level != 0; ++level, plane += kPlaneBytes) {
      const auto byte = static_cast<unsigned>(*plane);
      low += kLanesOfBits[byte & 0xF] << level;
      high += kLanesOfBits[byte >> 4] << level;
    }
    std::uint64_t* counts = ones.data() + 8 * place;
    for (unsigned bit = 0; bit < 4; ++bit) {
      counts[bit] += low >> (kLaneBits * bit) & kLaneMask;
      counts[bit + 4] += high >> (kLaneBits * bit) & kLaneMask;
    }
    if (++place == row_bytes_) place = 0;
  }
}

std::vector<std::uint64_t> BitStatistics::ones() const {
  std::vector<std::uint64_t> ones = ones_;
  read_out_planes(ones);
  return ones;
}

void BitStatistics::merge(const BitStatistics& other) {
  if (other.row_bytes_ != row_bytes_) {
    throw Error(ErrorCode::kInvalidArgument, "statistics of rows of " + std::to_string(row_bytes_) +
                                                 " bytes do not take up those of rows of " +
                                                 std::to_string(other.row_bytes_));
  }
  for (std::size_t i = 0; i < ones_.size(); ++i) ones_[i] += other.ones_[i];
  other.read_out_planes(ones_);
  num_rows_ += other.num_rows_;
}

BitStatistics BitStatistics::folded(std::uint64_t row_bytes) const {
  BitStatistics result(row_bytes);
  const std::vector<std::uint64_t> counts = ones();
  const std::size_t num_bits = result.ones_.size();
  for (std::size_t first = 0; first < counts.size(); first += num_bits) {
    for (std::size_t i = 0; i < num_bits; ++i) result.ones_[i] += counts[first + i];
  }
  result.num_rows_ = num_rows_ * (row_bytes_ / row_bytes);
  return result;
}

std::uint64_t counted_row_bytes(DType dtype, std::uint64_t row_bytes) noexcept {
  constexpr std::uint64_t kWordBytes = 8;
  if (row_bytes <= kMaxCountedRowBytes) return row_bytes;
  return row_bytes % kWordBytes == 0 ? kWordBytes : num_bytes(dtype);
}

}  // namespace stillbit
