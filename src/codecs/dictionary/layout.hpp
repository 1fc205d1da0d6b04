#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "warp/plan_bytes.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace stillbit::dictionary {

/// Rows of more words are not for this codec: the reader keeps a list of a row's patches on its stack.
inline constexpr std::uint64_t kMaxColumns = 65536;
inline constexpr std::uint64_t kMaxKinds = 65536;
inline constexpr std::uint64_t kMaxEntries = 65535;
/// Of all kinds of a plan.
inline constexpr std::uint64_t kMaxPlanEntries = std::uint64_t{1} << 22;
inline constexpr unsigned kMaxDictionaryCodeBits = 16;

/// How the columns that share it code their words, as spec.md has it. With entries it is a dictionary, without a
/// window.
struct Kind {
  unsigned code_bits = 0;
  bool has_sign = false;
  bool has_misses = false;
  unsigned shift = 0;
  unsigned number_bits = 0;
  std::uint64_t base = 0;
  std::vector<std::uint64_t> entries;  ///< numbers; those that have a code come first

  auto operator<=>(const Kind&) const = default;

  /// Whether the code of all ones stands for a patch.
  [[nodiscard]] bool has_marker() const noexcept { return has_misses || entries.size() > num_codes(); }
  /// Codes of a dictionary, that of the marker included.
  [[nodiscard]] std::uint64_t num_codes() const noexcept {
    return std::uint64_t{1} << std::min(code_bits, kMaxDictionaryCodeBits);
  }
  /// Entries that have a code; the others are patches.
  [[nodiscard]] std::uint64_t num_coded() const noexcept;
  /// Width of a patch code.
  [[nodiscard]] unsigned patch_bits() const noexcept;
  /// Bits that every element stores.
  [[nodiscard]] unsigned field_bits() const noexcept { return code_bits + (has_sign ? 1U : 0U); }
};

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 1;
  std::vector<Kind> kinds;
  std::vector<std::uint16_t> column_kinds;  ///< the kind of each column of a period

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
};

/// Finds equal kinds and gives each column of a period the number of its own.
/// Precondition: at least one column and at most kMaxColumns.
Plan make_plan(std::uint64_t row_bytes, unsigned view_bytes, const std::vector<Kind>& columns);

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// The size that `serialize` gives a kind, which shares it with no other, in bytes.
[[nodiscard]] std::uint64_t serialized_bytes(unsigned view_bytes, std::uint64_t num_entries,
                                             unsigned number_bits) noexcept;

/// S in spec.md: the bits of all fields of a row.
[[nodiscard]] std::uint64_t num_field_bits(const Plan& plan) noexcept;

/// A kind laid out for the kernels.
struct KindTable {
  std::uint64_t base = 0;
  std::uint64_t domain_mask = 0;  ///< the bits of a word but its sign, where the field has that
  std::uint64_t number_mask = 0;  ///< number_bits ones
  std::uint64_t wrap_mask = 0;    ///< the bits of (word >> shift): sums with the base wrap around there
  std::uint64_t field_mask = 0;   ///< the bits of a field
  std::uint64_t marker = 0;       ///< the code of all ones
  std::uint32_t patch_mask = 0;   ///< the patch code of all ones, a miss
  std::uint32_t num_coded = 0;
  std::uint32_t first_patch_word = 0;  ///< where the words of its patch codes start
  std::uint32_t first_slot = 0;
  std::uint32_t slot_mask = 0;
  std::uint8_t slot_shift = 0;
  std::uint8_t code_bits = 0;
  std::uint8_t patch_bits = 0;
  std::uint8_t number_bits = 0;
  std::uint8_t shift = 0;
  std::uint8_t sign_bits = 0;  ///< 1 where the field has a sign
  bool has_marker = false;
  bool has_misses = false;
  bool is_window = false;
};

/// Neighbouring columns that are decoded by one loop.
struct Segment {
  std::uint32_t first = 0;
  std::uint32_t end = 0;
  bool is_window = false;
  bool has_markers = false;
};

struct ColumnBlock;

/// A plan laid out for the kernels: each column of the row with its field, whatever the period.
struct RowTables {
  std::uint64_t row_bytes = 0;
  std::uint64_t num_columns = 0;
  std::uint64_t num_field_bits = 0;  ///< S in spec.md
  std::uint64_t minimum_row_bytes = 0;
  std::uint64_t num_segments = 0;
  std::uint64_t num_words = 0;

  const Segment* segments = nullptr;
  const KindTable* kinds = nullptr;
  const std::byte* words = nullptr;  ///< words of the view: what codes stand for; behind them is a zero

  // One for each column of the row.
  const std::uint32_t* bit_offsets = nullptr;  ///< where its field starts
  const std::uint16_t* column_kinds = nullptr;
  // The same, where it has a dictionary.
  const std::uint32_t* first_words = nullptr;  ///< which of `words` field 0 stands for
  const std::uint32_t* field_masks = nullptr;
  const std::uint32_t* thresholds = nullptr;  ///< fields from here on are patches

  // The same once more for kernels that use vectors (blocks.hpp), where words have 4 bytes or less.
  std::uint64_t num_blocks = 0;
  const ColumnBlock* blocks = nullptr;
};

/// Owns what the pointers of a RowTables point to.
class RowTableStorage {
 public:
  explicit RowTableStorage(const Plan& plan);
  ~RowTableStorage();

  RowTableStorage(const RowTableStorage&) = delete;
  RowTableStorage& operator=(const RowTableStorage&) = delete;

  [[nodiscard]] const RowTables& tables() const noexcept { return tables_; }

 private:
  std::vector<Segment> segments_;
  std::vector<KindTable> kinds_;
  std::vector<std::byte> words_;
  std::vector<std::uint32_t> columns_;
  std::vector<std::uint16_t> column_kinds_;
  std::vector<ColumnBlock> blocks_;
  RowTables tables_;
};

/// An entry of a hash table from words without sign to entries, with linear probing.
template <class Word>
struct Slot {
  Word key;
  std::uint32_t entry;  ///< its number among the kind's entries, or kNoEntry where the slot is empty
};
inline constexpr std::uint32_t kNoEntry = ~std::uint32_t{0};
inline constexpr std::uint64_t kHashFactor = 0x9E3779B97F4A7C15U;

/// The hash tables of all kinds, one after the other: Slot<Word> each. Only an encoder needs them.
std::vector<std::byte> make_slots(const Plan& plan, const RowTables& tables);

}  // namespace stillbit::dictionary
