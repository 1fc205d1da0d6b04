#pragma once

#include "codecs/ibp/moves.hpp"
#include "core/bytes.hpp"
#include "core/result.hpp"
#include "warp/plan_bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::ibp {

/// What the columns that share it know of their words. `constant` is a subset of `mask`, `value` of `mask`.
struct Entry {
  std::uint64_t value = 0;
  std::uint64_t mask = 0;
  std::uint64_t constant = 0;

  [[nodiscard]] std::uint64_t patch() const noexcept { return mask & ~constant; }
  bool operator==(const Entry&) const = default;
};

/// Longer rows are not for this codec: its masks, several bytes for each byte of a row, would outgrow the caches.
inline constexpr std::uint64_t kMaxRowBytes = std::uint64_t{1} << 20;

inline constexpr std::uint64_t kMaxEntries = 65536;

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 1;
  std::vector<Entry> entries;
  std::vector<std::uint16_t> column_entries;  ///< one per column; empty when there is one entry for all

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
  [[nodiscard]] const Entry& entry(std::uint64_t column) const noexcept {
    return entries[column_entries.empty() ? 0 : column_entries[column]];
  }
};

/// Finds equal entries and gives each column the number of its own. Precondition: as many columns as the row has words.
Plan make_plan(std::uint64_t row_bytes, unsigned view_bytes, const std::vector<Entry>& columns);

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

/// The plan as warp_encode.hpp has it.
warp::PlanBytes warp_encode_plan(const Plan& plan);

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// The size that `serialize` would give.
[[nodiscard]] std::uint64_t serialized_bytes(const Plan& plan) noexcept;

/// The bytes that every encoded row has at least.
[[nodiscard]] std::uint64_t minimum_row_bytes(const Plan& plan) noexcept;

/// A plan laid out for the kernels: each mask as a row that is all mask, so that rows can be worked on in words of any
/// size, whatever the view. Each row of masks is filled up with zeros to whole vectors.
///
/// Plain numbers and pointers, without member functions: kernels are compiled for several instruction sets, and what is
/// inline in them must not be shared with the rest of the program.
struct RowMasks {
  std::uint64_t row_bytes = 0;
  std::uint64_t num_checked = 0;      ///< P in spec.md
  std::uint64_t num_static_bits = 0;  ///< P + F
  std::uint64_t minimum_row_bytes = 0;

  const std::byte* value = nullptr;
  const std::byte* free = nullptr;        ///< bits that every element stores
  const std::byte* patch = nullptr;       ///< bits that an element stores besides when it deviates
  const std::byte* constant = nullptr;    ///< bits that no encoded element stores
  const std::byte* patch_bits = nullptr;  ///< how many bits of `patch` each column has, as a word of the view

  const std::uint64_t* checked = nullptr;          ///< bit c: column c has a participation bit
  const std::uint32_t* checked_columns = nullptr;  ///< the columns that have one, in order

  const std::uint64_t* moves[kNumMoves] =
      {};  ///< of the free bits (MoveTables), for kernels that ask for them, or null
  const std::uint32_t* places = nullptr;
};

/// Owns what the pointers of a RowMasks point to.
class RowMaskStorage {
 public:
  RowMaskStorage(const Plan& plan, bool with_moves);

  RowMaskStorage(const RowMaskStorage&) = delete;
  RowMaskStorage& operator=(const RowMaskStorage&) = delete;

  [[nodiscard]] const RowMasks& masks() const noexcept { return masks_; }

 private:
  std::vector<std::byte> rows_;
  std::vector<std::uint64_t> checked_;
  std::vector<std::uint32_t> checked_columns_;
  MoveTables moves_;
  RowMasks masks_;
};

}  // namespace stillbit::ibp
