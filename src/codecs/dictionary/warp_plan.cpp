#include "codecs/dictionary/layout.hpp"
#include "codecs/dictionary/warp.hpp"

#include <algorithm>
#include <cstring>

namespace stillbit::dictionary {
namespace {

WarpKind warp_kind(const KindTable& kind) {
  WarpKind made;
  made.base = kind.base;
  made.wrap_mask = kind.wrap_mask;
  made.first_patch_word = kind.first_patch_word;
  made.code_bits = kind.code_bits;
  made.patch_bits = kind.patch_bits;
  made.number_bits = kind.number_bits;
  made.shift = kind.shift;
  made.sign_bits = kind.sign_bits;
  made.has_marker = kind.has_marker ? 1 : 0;
  made.has_misses = kind.has_misses ? 1 : 0;
  return made;
}

}  // namespace

warp::PlanBytes warp_plan(const Plan& plan) {
  const RowTableStorage storage(plan);
  const RowTables& tables = storage.tables();
  std::vector<WarpKind> kinds;
  kinds.reserve(plan.kinds.size());
  for (std::size_t i = 0; i < plan.kinds.size(); ++i) kinds.push_back(warp_kind(tables.kinds[i]));

  std::vector<WarpColumn> columns(tables.num_columns + warp::kLaneColumns);
  bool has_misses = false;
  bool has_patch_codes = false;
  for (std::uint64_t i = 0; i < tables.num_columns; ++i) {
    const KindTable& kind = tables.kinds[tables.column_kinds[i]];
    WarpColumn& column = columns[i];
    column.bit_offset = tables.bit_offsets[i];
    const unsigned field_bits = kind.code_bits + std::uint32_t{kind.sign_bits};
    column.packed = tables.column_kinds[i] | field_bits << 16 | (kind.is_window ? 1U : 0U) << 24;
    if (!kind.is_window) {
      column.first_word = tables.first_words[i];
      column.threshold = tables.thresholds[i];
    }
    has_misses |= kind.has_misses;
    has_patch_codes |= kind.patch_bits != 0;
  }

  WarpPlan head;
  head.num_columns = static_cast<std::uint32_t>(tables.num_columns);
  head.num_field_bits = static_cast<std::uint32_t>(tables.num_field_bits);
  head.has_codes_before_misses = has_misses && has_patch_codes ? 1 : 0;
  head.columns_at = sizeof(WarpPlan);
  head.kinds_at = head.columns_at + static_cast<std::uint32_t>(columns.size() * sizeof(WarpColumn));
  head.words_at = head.kinds_at + static_cast<std::uint32_t>(kinds.size() * sizeof(WarpKind));
  // Columns that do not exist have field 0 of the first word.
  const std::uint64_t word_bytes = std::max<std::uint64_t>(tables.num_words, 1) * plan.view_bytes;
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(head.words_at + word_bytes)};
  std::memcpy(made.bytes.data(), &head, sizeof head);
  std::memcpy(made.bytes.data() + head.columns_at, columns.data(), columns.size() * sizeof(WarpColumn));
  std::memcpy(made.bytes.data() + head.kinds_at, kinds.data(), kinds.size() * sizeof(WarpKind));
  if (tables.num_words != 0)
    std::memcpy(made.bytes.data() + head.words_at, tables.words, tables.num_words * plan.view_bytes);
  return made;
}

}  // namespace stillbit::dictionary
