#pragma once

#include <stillbit/dtype.hpp>

#include <cstddef>
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
  /// Counts rows of `row_bytes` bytes. Throws kInvalidArgument when that is 0.
  explicit BitStatistics(std::uint64_t row_bytes);

  /// Goes on from counts that `ones` once returned. Throws kInvalidArgument when they are none of `num_rows` rows.
  BitStatistics(std::uint64_t num_rows, std::vector<std::uint64_t> ones);

  /// Adds whole rows that lie back to back. Throws kInvalidArgument when their size is no multiple of row_bytes.
  /// Fastest in multiples of `lap_bytes`: the rows that are left over are counted bit by bit.
  void add(std::span<const std::byte> rows);

  /// Adds what another object counted. Throws kInvalidArgument when row_bytes differ.
  void merge(const BitStatistics& other);

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

/// Rows longer than this are counted word by word, not column by column: counts take 64 bytes for each byte of a row.
inline constexpr std::uint64_t kMaxCountedRowBytes = 65536;

/// What the statistics of a tensor with such rows count as a row: the row itself, or where it is too long eight bytes
/// or one element, of which it is made.
[[nodiscard]] std::uint64_t counted_row_bytes(DType dtype, std::uint64_t row_bytes) noexcept;

}  // namespace stillbit
