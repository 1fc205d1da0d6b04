#include "codecs/dictionary/account.hpp"

#include "core/bits.hpp"

#include <algorithm>

namespace stillbit::dictionary {
namespace {

/// Whether all of `num_bits` bits are ones, as the marker's are: 64 of them at most.
bool is_all_ones(const std::byte* stream, std::uint64_t bit_offset, unsigned num_bits) {
  constexpr unsigned kPiece = 32;
  for (; num_bits > 0; bit_offset += kPiece) {
    const unsigned count = std::min(num_bits, kPiece);
    if (load_bits(stream, bit_offset, count) != (std::uint64_t{1} << count) - 1) return false;
    num_bits -= count;
  }
  return true;
}

}  // namespace

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const std::uint64_t num_columns = plan.num_columns();
  const auto kind_of = [&](std::uint64_t column) -> const Kind& {
    return plan.kinds[plan.column_kinds[column % plan.column_kinds.size()]];
  };
  account.word_bits.resize(num_columns);
  std::vector<std::uint32_t> patched;
  std::uint64_t bit = 0;
  for (std::uint64_t column = 0; column < num_columns; ++column) {
    const Kind& kind = kind_of(column);
    const unsigned sign_bits = kind.field_bits() - kind.code_bits;
    account.word_bits[column] = static_cast<float>(kind.field_bits());
    if (kind.has_marker() && is_all_ones(row.data, bit + sign_bits, kind.code_bits))
      patched.push_back(static_cast<std::uint32_t>(column));
    bit += kind.field_bits();
  }
  account.codes += bit;
  for (const std::uint32_t column : patched) {
    const Kind& kind = kind_of(column);
    const unsigned patch_bits = kind.patch_bits();
    const bool is_miss = kind.has_misses && is_all_ones(row.data, bit, patch_bits);
    const unsigned num_bits = patch_bits + (is_miss ? kind.number_bits : 0U);
    bit += patch_bits;
    account.exceptions += num_bits;
    account.word_bits[column] += static_cast<float>(num_bits);
  }
}

}  // namespace stillbit::dictionary
