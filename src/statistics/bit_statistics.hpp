#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace stillbit {

/// How often each bit of a row is 1, over many rows.
///
/// The counts of parts of a tensor add up to the counts of the whole, so parts can be counted apart: by threads, by
/// processes, chunk after chunk. A bit's place in the row is all that is counted: whether the row is later seen as 1-,
/// 2-, 4- or 8-byte words does not matter.
class BitStatistics {
 public:
  /// Counts rows of `row_bytes` (above 0) bytes.
  explicit BitStatistics(std::uint64_t row_bytes);

  /// Adds whole rows that lie back to back. Precondition: rows.size() is a multiple of row_bytes.
  /// Fastest in multiples of `lap_bytes`: the rows that are left over are counted bit by bit.
  void add(Bytes rows);

  /// Adds what another object counted. Precondition: equal row_bytes.
  void merge(const BitStatistics& other);

  /// Adds what was counted elsewhere over `num_rows` rows. Precondition: as many counts as a row has bits.
  void add_counts(std::span<const std::uint64_t> ones, std::uint64_t num_rows);

  /// The counts of shorter rows that these rows are made of. Precondition: `row_bytes` divides this row_bytes.
  [[nodiscard]] BitStatistics folded(std::uint64_t row_bytes) const;

  [[nodiscard]] std::uint64_t row_bytes() const noexcept { return row_bytes_; }
  [[nodiscard]] std::uint64_t num_rows() const noexcept { return num_rows_; }

  /// As many rows as are counted together: those that fill whole vectors, or one long row.
  [[nodiscard]] std::uint64_t lap_bytes() const noexcept { return lap_bytes_; }

  /// In how many rows bit `bit % 8` of byte `bit / 8` is 1.
  [[nodiscard]] std::vector<std::uint64_t> ones() const;

 private:
  void read_out_planes(std::vector<std::uint64_t>& ones) const;

  std::uint64_t row_bytes_;
  std::uint64_t lap_bytes_;
  std::uint64_t num_rows_ = 0;
  std::vector<std::uint64_t> ones_;  ///< but for what the planes hold
  std::vector<std::byte> planes_;    ///< bit-sliced counts of laps; empty until there are any
  std::uint64_t num_plane_laps_ = 0;
};

}  // namespace stillbit
