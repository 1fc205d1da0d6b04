#pragma once

#include "codecs/escape/lane.hpp"
#include "core/bytes.hpp"
#include "core/result.hpp"
#include "fields/packing.hpp"
#include "fields/unpacking.hpp"
#include "warp/plan_bytes.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace stillbit::escape {

inline constexpr unsigned kMaxTiers = 3;
inline constexpr unsigned kMaxTierBits = 4;

/// Longer rows are not for this codec: its scratch, several bytes for each column, lives on the stack.
inline constexpr std::uint64_t kMaxRowBytes = 65536;

/// Narrowest and widest symbols of words of 1, 2, 4 and 8 bytes. The lower bounds keep eight bytes' worth of fixed
/// fields, from any bit of a byte on, within eight bytes.
[[nodiscard]] unsigned min_symbol_bits(unsigned view_bytes) noexcept;
[[nodiscard]] unsigned max_symbol_bits(unsigned view_bytes) noexcept;

struct Tier {
  unsigned bits = 0;
  std::vector<std::uint16_t> symbols;  ///< of code 1, code 2 …: 2^bits − 1 of them
  bool operator==(const Tier&) const = default;
};

/// A plan as spec.md has it.
struct Plan {
  std::uint64_t row_bytes = 0;
  unsigned view_bytes = 2;
  unsigned sign_bits = 1;
  unsigned symbol_bits = 8;
  unsigned dropped_bits = 0;
  std::vector<Tier> tiers;
  bool row_shifts = false;
  std::vector<std::uint16_t> column_shifts;  ///< empty, or one for each column until they repeat

  [[nodiscard]] std::uint64_t num_columns() const noexcept { return row_bytes / view_bytes; }
  [[nodiscard]] unsigned fixed_bits() const noexcept {
    return 8 * view_bytes - 1 - symbol_bits - dropped_bits + sign_bits;
  }
  [[nodiscard]] unsigned symbol_size() const noexcept { return view_bytes == 8 ? 2 : 1; }
};

std::vector<std::byte> serialize(const Plan& plan);

/// The plan as warp.hpp has it.
warp::PlanBytes warp_plan(const Plan& plan);

/// The plan as warp_encode.hpp has it.
warp::PlanBytes warp_encode_plan(const Plan& plan);

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes);

/// The size that `serialize` would give.
[[nodiscard]] std::uint64_t serialized_bytes(const Plan& plan) noexcept;

/// Bits of each of a row's counts.
[[nodiscard]] unsigned count_bits(const Plan& plan) noexcept;

/// The bytes of a row's counts.
[[nodiscard]] std::uint64_t counts_bytes(const Plan& plan) noexcept;

/// The bytes that every encoded row has at least.
[[nodiscard]] std::uint64_t minimum_row_bytes(const Plan& plan) noexcept;

/// What kernels may read or write behind the last symbol of a row: they work on whole vectors.
inline constexpr std::uint64_t kPadding = 64;

/// Symbols of up to 8 bits: bit h % 8 of bits[h / 8][l] is set if symbol 16 × h + l is one of them. Vectors look the
/// bytes up by the symbols' low halves.
struct SymbolSet {
  std::uint8_t bits[2][16] = {};
};

/// What encoding asks of symbols, as sets.
struct SymbolSets {
  SymbolSet with_code_bit[kMaxTiers][kMaxTierBits];  ///< bit j of the tier's code is 1
  SymbolSet in_tiers_up_to[kMaxTiers];               ///< tier i has it, or one before
};

/// A plan laid out for the kernels.
///
/// Plain numbers and pointers, without member functions: kernels are compiled for several instruction sets, and what is
/// inline in them must not be shared with the rest of the program.
struct RowLayout {
  WordShape shape;
  std::uint64_t row_bytes = 0;
  std::uint64_t num_columns = 0;
  std::uint64_t fixed_bytes = 0;
  std::uint64_t code_bytes = 0;
  std::uint64_t minimum_row_bytes = 0;  ///< of all that is before the codes of the second tier
  std::uint64_t counts_at = 0;          ///< where a row's counts are
  unsigned count_bits = 0;              ///< of each

  fields::FieldUnpacking unpacking;  ///< of fixed fields
  std::uint64_t unpacked_mask = 0;   ///< of the word: what is in its place once its fixed field is unpacked
  bool unpacks_sign = false;         ///< the sign is under the mask; if not it stands above the rest, at symbol_at

  unsigned num_tiers = 0;
  unsigned tier_bits[kMaxTiers] = {};
  std::uint16_t symbol_of_code[kMaxTiers][1U << kMaxTierBits] = {};   ///< entry 0, the escape, is 0
  std::uint8_t low_byte_of_code[kMaxTiers][1U << kMaxTierBits] = {};  ///< the same for symbols of up to 8 bits

  const std::uint8_t* code_of_symbol[kMaxTiers] = {};  ///< 0 for a symbol that the tier lacks; 256 entries at least
  const std::uint8_t* tier_of_symbol = nullptr;        ///< the first tier that has it, or num_tiers
  const std::uint64_t* beyond_of_symbol = nullptr;     ///< bit 20 × i is set if tiers 0 … i lack it: to be added up
  const fields::FieldPacking* packing = nullptr;       ///< of fixed fields; null where they are too narrow for it
  const SymbolSets* symbol_sets = nullptr;             ///< the same as sets; null where symbols have more than 8 bits
  std::uint8_t first_near_symbol = 0;  ///< where tiers_are_near, no tier has any but the 63 symbols from this one on
  bool tiers_are_near = false;

  bool row_shifts = false;
  const std::byte* column_shifts = nullptr;  ///< a symbol for each column of the row and kPadding more, or null
};

/// Bits between the counters in beyond_of_symbol: no row has as many columns as would make one overflow.
inline constexpr unsigned kCounterBits = 20;
static_assert(kMaxRowBytes < std::uint64_t{1} << kCounterBits && kMaxTiers * kCounterBits <= 64);

/// What a layout is for: who only decodes does without what encoding asks of symbols, which takes longer to make than
/// all the rest.
enum class LayoutUse { kDecoding, kEncodingToo };

/// Owns what the pointers of a RowLayout point to.
class RowLayoutStorage {
 public:
  explicit RowLayoutStorage(const Plan& plan, LayoutUse use = LayoutUse::kEncodingToo);

  RowLayoutStorage(const RowLayoutStorage&) = delete;
  RowLayoutStorage& operator=(const RowLayoutStorage&) = delete;

  [[nodiscard]] const RowLayout& layout() const noexcept { return layout_; }

 private:
  void lay_out_encoding(const Plan& plan);

  fields::FieldPacking packing_;
  std::array<std::vector<std::uint8_t>, kMaxTiers> code_of_symbol_;
  std::vector<std::uint8_t> tier_of_symbol_;
  std::vector<std::uint64_t> beyond_of_symbol_;
  std::unique_ptr<SymbolSets> symbol_sets_;
  std::vector<std::byte> column_shifts_;
  RowLayout layout_;
};

}  // namespace stillbit::escape
