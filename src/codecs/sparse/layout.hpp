#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "warp/plan_bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::sparse {

/// Longer rows are not for this codec: columns then fit in 20 bits, and a field in two words.
inline constexpr std::uint64_t kMaxRowBytes = std::uint64_t{1} << 20;

inline constexpr std::uint64_t kMaxValues = 65536;

/// How the words that are not the background are coded. The numbers are those of the format.
enum class ValueMode : std::uint8_t {
  kDictionary = 0,  ///< the number of one of `values`
  kWindow = 1,      ///< the distance from a base, which is the only one of `values`
};

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 1;
  unsigned low_bits = 0;  ///< 0: positions are a bitmap
  unsigned code_bits = 0;
  ValueMode value_mode = ValueMode::kDictionary;
  unsigned sign_bits = 0;
  unsigned zero_bits = 0;
  std::uint64_t background = 0;
  std::vector<std::uint64_t> values;

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
};

/// Bits that a column's number takes where it stands by itself. Precondition: there is a column.
[[nodiscard]] unsigned column_bits_for(std::uint64_t num_columns) noexcept;

/// The width that a dictionary's codes have. Precondition: there is a value.
[[nodiscard]] unsigned code_bits_for(std::uint64_t num_values) noexcept;

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

/// The size that `serialize` would give.
[[nodiscard]] std::uint64_t serialized_bytes(const Plan& plan) noexcept;

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// What a row's size is made of.
struct RowPrice {
  std::uint64_t fixed_bits = 0;      ///< whatever the row holds
  std::uint64_t element_bits = 0;    ///< for each element
  std::uint64_t exception_bits = 0;  ///< for each exception
};

[[nodiscard]] RowPrice row_price(const Plan& plan) noexcept;

/// The bytes that every encoded row has at least.
[[nodiscard]] std::uint64_t minimum_row_bytes(const Plan& plan) noexcept;

/// A place of the hash table that finds a word's code.
struct Slot {
  std::uint64_t word;
  std::uint32_t code;  ///< kFreeSlot where there is no word
};

inline constexpr std::uint32_t kFreeSlot = ~std::uint32_t{0};

/// Places that are looked at for a word, one behind the other. A word that found none of them free when the table was
/// built has no code, as far as encoding goes, and is stored as an exception: the search stays short whatever a plan
/// that was read from a file holds.
inline constexpr std::uint64_t kMaxProbes = 32;

/// A plan laid out for the kernels.
///
/// Plain numbers and pointers, without member functions: kernels are compiled for several instruction sets, and what is
/// inline in them must not be shared with the rest of the program.
struct RowLayout {
  std::uint64_t row_bytes = 0;
  std::uint64_t num_columns = 0;
  std::uint64_t background = 0;
  std::uint64_t num_buckets = 0;  ///< zeros among the upper parts; has no meaning where positions are a bitmap
  std::uint64_t minimum_row_bytes = 0;
  RowPrice price;

  unsigned low_bits = 0;
  unsigned code_bits = 0;
  unsigned column_bits = 0;
  ValueMode value_mode = ValueMode::kDictionary;

  unsigned sign_bits = 0;
  unsigned zero_bits = 0;
  std::uint64_t base = 0;
  std::uint64_t offset_mask = 0;  ///< distances are taken modulo this + 1
  std::uint64_t max_offset = 0;   ///< the largest distance that has a code

  const std::byte* values = nullptr;  ///< words of the view, back to back; 8 bytes behind them are readable
  std::uint64_t num_values = 0;
  const Slot* slots = nullptr;
  unsigned slot_shift = 0;  ///< the upper 64 - slot_shift bits of a word's hash say where to look first
};

/// Owns what the pointers of a RowLayout point to.
class RowLayoutStorage {
 public:
  explicit RowLayoutStorage(const Plan& plan);

  RowLayoutStorage(const RowLayoutStorage&) = delete;
  RowLayoutStorage& operator=(const RowLayoutStorage&) = delete;

  [[nodiscard]] const RowLayout& layout() const noexcept { return layout_; }

 private:
  std::vector<std::byte> values_;
  std::vector<Slot> slots_;
  RowLayout layout_;
};

/// Spreads words over the upper bits.
inline constexpr std::uint64_t kHashFactor = 0x9E3779B97F4A7C15U;

}  // namespace stillbit::sparse
