#pragma once

#include "core/buffer.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace stillbit {

/// Expanded rows that are wanted again and again: of a skewed index few rows are a large part. Each row has one place,
/// which it takes from another when it was wanted twice in a row among those without it. Rows of one tensor at a time;
/// one thread's.
class HotRows {
 public:
  /// Bytes of rows that are kept: of a second-level cache a small part, and more than the first has.
  static constexpr std::uint64_t kBytes = std::uint64_t{256} << 10;

  /// What says which rows these are stays in the first-level cache.
  static constexpr std::uint64_t kMostPlaces = 1024;

  /// Forgets all rows, unless they are of this tensor.
  void begin(const void* tensor, std::uint64_t row_bytes) {
    if (tensor == tensor_) return;
    tensor_ = tensor;
    row_bytes_ = row_bytes;
    const std::uint64_t num_places = std::min(kMostPlaces, std::bit_floor(kBytes / row_bytes));
    shift_ = 64 - static_cast<unsigned>(std::bit_width(num_places / 2));
    places_.assign(num_places, {kNone, kNone});
  }

  [[nodiscard]] bool is_usable() const noexcept { return places_.size() > 1; }

  /// The row, if it is kept: valid until `keep`.
  [[nodiscard]] const std::byte* find(std::uint64_t row) const noexcept {
    const std::uint64_t place = place_of(row);
    return places_[place].row == row ? rows_.data() + place * row_bytes_ : nullptr;
  }

  /// Whether a row that is not kept should be from now on.
  [[nodiscard]] bool is_wanted_again(std::uint64_t row) noexcept {
    Place& place = places_[place_of(row)];
    if (place.wanted == row) return true;
    place.wanted = row;
    return false;
  }

  void keep(std::uint64_t row, const std::byte* expanded) {
    if (rows_.size() == 0) rows_ = Buffer(kBytes);
    const std::uint64_t place = place_of(row);
    std::memcpy(rows_.data() + place * row_bytes_, expanded, row_bytes_);
    places_[place].row = row;
  }

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  struct Place {
    std::uint64_t row;     ///< which is kept
    std::uint64_t wanted;  ///< the last one that was not
  };

  [[nodiscard]] std::uint64_t place_of(std::uint64_t row) const noexcept {
    return row * 0x9E3779B97F4A7C15 >> shift_;  // Fibonacci hashing: neighbours do not collide
  }

  const void* tensor_ = nullptr;
  std::uint64_t row_bytes_ = 0;
  unsigned shift_ = 63;
  std::vector<Place> places_;
  Buffer rows_;
};

}  // namespace stillbit
