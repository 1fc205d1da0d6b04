#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "fields/packing.hpp"
#include "fields/unpacking.hpp"
#include "warp/plan_bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::window {

inline constexpr std::uint64_t kMaxRowBytes = std::uint64_t{1} << 20;

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 2;
  bool is_signed = false;
  unsigned dropped_bits = 0;
  unsigned field_bits = 0;
  unsigned base_bytes = 1;
  unsigned base_shift = 0;
  std::vector<std::uint64_t> bases;  ///< multiples of 2^base_shift; one for each column until they repeat

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
  [[nodiscard]] unsigned value_bits() const noexcept { return 8 * view_bytes - dropped_bits; }
};

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// The size that `serialize` would give.
[[nodiscard]] std::uint64_t serialized_bytes(const Plan& plan) noexcept;

/// The bytes that every encoded row has at least: its plane of fields.
[[nodiscard]] std::uint64_t minimum_row_bytes(const Plan& plan) noexcept;

/// Words that kernels work on together. Their fields take whole bytes, whatever their width.
inline constexpr std::uint64_t kChunkWords = 64;

/// A plan laid out for the kernels.
///
/// Words are compared as *placed values*: the values of spec.md, shifted left by dropped_bits. Differences of these
/// wrap around by themselves, and the placed value of a word without sign is the word. Placed fields are likewise the
/// fields of spec.md, shifted left by dropped_bits.
///
/// Plain numbers and pointers, without member functions: kernels are compiled for several instruction sets, and what is
/// inline in them must not be shared with the rest of the program.
struct RowLayout {
  std::uint64_t row_bytes = 0;
  std::uint64_t num_columns = 0;
  std::uint64_t plane_bytes = 0;
  unsigned field_bits = 0;
  unsigned dropped_bits = 0;
  bool is_signed = false;
  std::uint64_t field_places = 0;    ///< the bits of a placed field
  std::uint64_t marker = 0;          ///< placed; where fields have no bits, one above the only offset there is
  std::uint64_t dropped = 0;         ///< the bits of a word that must be zero, or the word is an exception
  const std::byte* bases = nullptr;  ///< placed, a word each: for each column, or for each word of any chunk
  bool has_column_bases = false;     ///< `bases` has one for each column and then for kChunkWords more
  fields::FieldUnpacking unpacking;
  const fields::FieldPacking* packing = nullptr;  ///< null where fields are too narrow for it
};

/// Owns what the pointers of a RowLayout point to.
class RowLayoutStorage {
 public:
  explicit RowLayoutStorage(const Plan& plan);

  RowLayoutStorage(const RowLayoutStorage&) = delete;
  RowLayoutStorage& operator=(const RowLayoutStorage&) = delete;

  [[nodiscard]] const RowLayout& layout() const noexcept { return layout_; }

 private:
  std::vector<std::byte> bases_;
  fields::FieldPacking packing_;
  RowLayout layout_;
};

}  // namespace stillbit::window
