#include "codecs/dictionary/blocks.hpp"

#include "core/checked.hpp"

#include <algorithm>
#include <numeric>

namespace stillbit::dictionary {
namespace {

/// The word that a field stands for; of a patch its sign.
std::uint32_t word_of_field(const Plan& plan, const RowTables& tables, std::uint64_t column, std::uint32_t field) {
  const KindTable& kind = tables.kinds[tables.column_kinds[column]];
  std::uint32_t word = 0;
  if (!kind.is_window) {
    std::memcpy(&word, tables.words + (tables.first_words[column] + field) * plan.view_bytes, plan.view_bytes);
    return word;
  }
  const std::uint32_t code = field >> kind.sign_bits;
  if (!kind.has_marker || code != kind.marker)
    word = static_cast<std::uint32_t>(((code + kind.base) & kind.wrap_mask) << kind.shift);
  return word | (field & kind.sign_bits) << (8 * plan.view_bytes - 1);
}

void lay_out(const Plan& plan, const RowTables& tables, std::uint64_t column, unsigned lane, std::uint32_t place,
             ShortFields& fields) {
  const KindTable& kind = tables.kinds[tables.column_kinds[column]];
  const auto lane_bit = static_cast<std::uint16_t>(1U << lane);
  for (unsigned bit = 0; bit < kMaxShortBits; ++bit) {
    const std::uint32_t in_field = 1U << bit;
    if ((kind.field_mask & in_field) != 0) {
      fields.columns[bit] |= lane_bit;
      fields.bits[bit] |= in_field << place;
    }
    if ((kind.marker << kind.sign_bits & in_field) == 0) fields.any_is_marker[bit] |= lane_bit;
  }
  for (std::uint32_t field = 0; field <= kind.field_mask; ++field)
    fields.words[field][lane] = word_of_field(plan, tables, column, field);
}

void lay_out(const RowTables& tables, std::uint64_t column, unsigned lane, std::uint32_t place, WideFields& fields) {
  const KindTable& kind = tables.kinds[tables.column_kinds[column]];
  fields.places[lane] = place;
  fields.masks[lane] = static_cast<std::uint32_t>(kind.field_mask);
  fields.thresholds[lane] = static_cast<std::uint32_t>(kind.marker << kind.sign_bits);
  if (!kind.is_window) fields.first_words[lane] = tables.first_words[column];
}

/// What patches and misses of a column are.
void lay_out(const Plan& plan, const RowTables& tables, const KindTable& kind, unsigned lane, ColumnBlock& block) {
  const auto lane_bit = static_cast<std::uint16_t>(1U << lane);
  if (kind.has_marker) block.markers |= lane_bit;
  if (kind.has_misses) block.has_misses |= lane_bit;
  if (kind.is_window) block.windows |= lane_bit;
  if (kind.patch_bits == 1) block.bit_patches |= lane_bit;
  block.patch_bits[lane] = kind.patch_bits;
  block.number_bits[lane] = kind.number_bits;
  block.sign_bits[lane] = kind.sign_bits;
  block.patch_masks[lane] = kind.patch_mask;
  block.first_patch_words[lane] = kind.first_patch_word;
  block.number_masks[lane] = static_cast<std::uint32_t>(kind.number_mask);
  block.shifts[lane] = kind.shift;
  block.bases[lane] = static_cast<std::uint32_t>(kind.base << kind.shift);
  block.domain_masks[lane] = static_cast<std::uint32_t>(kind.domain_mask);
  for (std::uint64_t code = 0; !kind.is_window && block.has_bit_patches && code <= kind.patch_mask; ++code) {
    const std::uint64_t at = kind.first_patch_word + code;
    std::memcpy(&block.bit_patch_words[code][lane], tables.words + at * plan.view_bytes, plan.view_bytes);
  }
}

/// Lays out the columns from `first` to `end`.
void lay_out(const Plan& plan, const RowTables& tables, std::uint64_t first, std::uint64_t end, ColumnBlock& block) {
  block.has_short_fields = block.has_bit_patches = true;
  for (std::uint64_t column = first; column < end; ++column) {
    const KindTable& kind = tables.kinds[tables.column_kinds[column]];
    block.has_short_fields = block.has_short_fields && kind.field_mask >> kMaxShortBits == 0;
    block.has_bit_patches = block.has_bit_patches && kind.patch_bits <= 1;
  }
  for (std::uint64_t column = first; column < end; ++column) {
    const KindTable& kind = tables.kinds[tables.column_kinds[column]];
    const auto lane = static_cast<unsigned>(column - first);
    if (block.has_short_fields) {
      lay_out(plan, tables, column, lane, block.field_bits, block.short_fields);
    } else {
      lay_out(tables, column, lane, block.field_bits, block.wide_fields);
    }
    lay_out(plan, tables, kind, lane, block);
    block.field_bits += kind.code_bits + std::uint32_t{kind.sign_bits};
  }
}

}  // namespace

std::vector<ColumnBlock> make_blocks(const Plan& plan, const RowTables& tables) {
  const std::uint64_t period = std::lcm<std::uint64_t>(plan.column_kinds.size(), kBlockColumns);
  const std::uint64_t num_columns = std::min(period, tables.num_columns);
  std::vector<ColumnBlock> blocks(ceil_div(num_columns, std::uint64_t{kBlockColumns}));
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::uint64_t first = i * kBlockColumns;
    lay_out(plan, tables, first, std::min(first + kBlockColumns, num_columns), blocks[i]);
  }
  return blocks;
}

}  // namespace stillbit::dictionary
