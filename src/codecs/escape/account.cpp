#include "codecs/escape/account.hpp"

#include "core/bits.hpp"
#include "core/checked.hpp"

#include <numeric>

namespace stillbit::escape {
namespace {

/// Whether code `i` of a plane is 0, the escape. In a block (spec.md) the bits of a code lie in pairs, each pair in 16
/// bytes, and a last odd one in 8. Codes behind the last block, or of a plane without blocks, follow each other.
bool is_escape(const std::byte* plane, std::uint64_t num_blocks, unsigned bits, std::uint64_t i) {
  const std::uint64_t block = i / kBlockCodes;
  if (block >= num_blocks) return load_bits(plane, i * bits, bits) == 0;
  const std::uint64_t within = i % kBlockCodes;
  const std::byte* const at = plane + block * 8 * bits;
  std::uint64_t code = 0;
  for (unsigned pair = 0; pair < bits / 2; ++pair)
    code |= load_bits(at + std::size_t{16} * pair + within % 16, 2 * (within / 16), 2);
  if (bits % 2 == 1) code |= load_bits(at + std::size_t{16} * (bits / 2), within, 1);
  return code == 0;
}

}  // namespace

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const std::uint64_t num_columns = plan.num_columns();
  // A row's shift and its counts, which all of its words share.
  const std::uint64_t head_bytes = (plan.row_shifts ? plan.symbol_size() : 0) + counts_bytes(plan);
  account.values += num_columns * plan.fixed_bits();
  account.codes += num_columns * plan.tiers[0].bits + 8 * head_bytes;
  const float head_bits = static_cast<float>(8 * head_bytes) / static_cast<float>(num_columns);
  account.word_bits.assign(num_columns, static_cast<float>(plan.fixed_bits()) + head_bits);

  std::vector<std::uint32_t> columns(num_columns);  // that have a code in this tier
  std::iota(columns.begin(), columns.end(), 0U);
  const std::byte* plane = row.data + ceil_div(num_columns * plan.fixed_bits(), 8);
  for (std::size_t tier = 0; tier < plan.tiers.size() && !columns.empty(); ++tier) {
    const unsigned bits = plan.tiers[tier].bits;
    const std::uint64_t num_blocks = tier == 0 ? columns.size() / kBlockCodes : 0;
    std::vector<std::uint32_t> escaped;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      account.word_bits[columns[i]] += static_cast<float>(bits);
      if (is_escape(plane, num_blocks, bits, i)) escaped.push_back(columns[i]);
    }
    if (tier > 0) account.exceptions += columns.size() * bits;
    plane += ceil_div(columns.size() * bits, 8) + (tier == 0 ? head_bytes : 0);
    columns = std::move(escaped);
  }
  const std::uint64_t symbol_bits = 8 * plan.symbol_size();
  account.exceptions += columns.size() * symbol_bits;
  for (const std::uint32_t column : columns) account.word_bits[column] += static_cast<float>(symbol_bits);
}

}  // namespace stillbit::escape
