#pragma once

#include "codecs/rans/frequencies.hpp"
#include "codecs/rans/lane.hpp"
#include "core/bytes.hpp"
#include "core/result.hpp"
#include "fields/unpacking.hpp"
#include "warp/plan_bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::rans {

/// Longer rows are not for this codec: its scratch, some bytes for each column, lives on the stack.
inline constexpr std::uint64_t kMaxRowBytes = 65536;

inline constexpr unsigned kMinScaleBits = 8;
inline constexpr unsigned kMaxScaleBits = 12;
inline constexpr unsigned kMaxSymbols = 256;
inline constexpr unsigned kMaxTables = 16;

/// Narrowest and widest symbols of words of 1, 2, 4 and 8 bytes. The lower bounds keep eight bytes' worth of fixed
/// fields, from any bit of a byte on, within eight bytes.
[[nodiscard]] unsigned min_symbol_bits(unsigned view_bytes) noexcept;
[[nodiscard]] unsigned max_symbol_bits(unsigned view_bytes, unsigned sign_bits) noexcept;

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 2;
  unsigned sign_bits = 1;
  unsigned symbol_bits = 8;
  unsigned dropped_bits = 0;
  unsigned scale_bits = kMaxScaleBits;
  bool has_escapes = false;
  unsigned num_segment_levels = 1;
  unsigned num_column_levels = 1;
  SymbolRuns runs;
  std::uint32_t segment_columns = 0;        ///< 0 where all segments have one level
  std::vector<std::uint8_t> column_levels;  ///< empty, or one for each column until they repeat
  std::vector<Frequencies> frequencies;     ///< of each table

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
  [[nodiscard]] unsigned num_symbols() const noexcept { return static_cast<unsigned>(frequencies.front().size()); }
  [[nodiscard]] unsigned symbol_at() const noexcept { return 8 * view_bytes - sign_bits - symbol_bits; }
  [[nodiscard]] unsigned fixed_bits() const noexcept { return symbol_at() - dropped_bits + sign_bits; }
  [[nodiscard]] unsigned symbol_size() const noexcept { return symbol_bits > 8 ? 2 : 1; }
  [[nodiscard]] unsigned level_bits() const noexcept;
  [[nodiscard]] std::uint64_t num_segments() const noexcept;
};

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// The bytes that every encoded row has at least.
[[nodiscard]] std::uint64_t minimum_row_bytes(const Plan& plan) noexcept;

/// What kernels may read or write behind what they keep for each column: they work on whole vectors.
inline constexpr std::uint64_t kPadding = 64;

/// Columns that are decoded together.
inline constexpr std::uint64_t kBlockColumns = 64;

/// An index that no symbol has.
inline constexpr std::uint16_t kNoIndex = 256;

/// What a symbol costs in a segment of each level: a vector of these is added up for a segment's columns.
inline constexpr unsigned kMaxLevels = 16;
inline constexpr unsigned kCostLevels = 2 * kMaxLevels;  ///< a column's level is where its vector begins

/// A plan laid out for the kernels.
///
/// Plain numbers and pointers, without member functions: kernels are compiled for several instruction sets, and what is
/// inline in them must not be shared with the rest of the program.
struct RowLayout {
  WordShape shape;
  SymbolRuns runs;
  std::uint64_t row_bytes = 0;
  std::uint64_t num_columns = 0;
  unsigned scale_bits = 0;

  std::uint64_t levels_at = 0;     ///< where the levels of the segments are in a row
  std::uint64_t fixed_at = 0;      ///< and the fixed fields
  std::uint64_t fixed_bytes = 0;   ///< of all of them
  std::uint64_t stored_bytes = 0;  ///< of those that are stored there: the states end with the rest
  std::uint64_t head_columns = 0;  ///< whose fixed fields are all stored there: whole blocks, or all columns
  std::uint64_t minimum_row_bytes = 0;

  fields::FieldUnpacking unpacking;  ///< of fixed fields
  std::uint64_t unpacked_mask = 0;   ///< of the word: what is in its place once its fixed field is unpacked
  bool unpacks_sign = false;         ///< the sign is under the mask; if not it stands above the rest, at symbol_at

  bool has_escapes = false;
  std::uint32_t escape_index = 0;
  unsigned symbol_size = 0;

  unsigned num_levels = 0;  ///< of segments
  unsigned level_bits = 0;
  std::uint64_t segment_columns = 0;
  std::uint64_t num_segments = 0;
  const std::uint8_t* column_levels = nullptr;  ///< a level for each column of the row and kPadding more, or null

  const Slot* slots = nullptr;                     ///< 2^scale_bits for each table
  const std::uint16_t* index_of_symbol = nullptr;  ///< kNoIndex where a row cannot have the symbol
  const CodedSymbol* coded = nullptr;              ///< kMaxSymbols for each table; of frequency 0 where it lacks one
  const std::uint16_t* costs = nullptr;            ///< kCostLevels for each index; null where there is one level
};

/// Owns what the pointers of a RowLayout point to.
class RowLayoutStorage {
 public:
  explicit RowLayoutStorage(const Plan& plan);

  RowLayoutStorage(const RowLayoutStorage&) = delete;
  RowLayoutStorage& operator=(const RowLayoutStorage&) = delete;

  [[nodiscard]] const RowLayout& layout() const noexcept { return layout_; }

 private:
  void lay_out_words(const Plan& plan);
  void lay_out_row(const Plan& plan);
  void make_tables(const Plan& plan);

  std::vector<std::uint8_t> column_levels_;
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> index_of_symbol_;
  std::vector<CodedSymbol> coded_;
  std::vector<std::uint16_t> costs_;
  RowLayout layout_;
};

}  // namespace stillbit::rans
