#include "codecs/ibp/account.hpp"

#include "core/bits.hpp"

#include <bit>

namespace stillbit::ibp {

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const std::uint64_t num_columns = plan.num_columns();
  account.word_bits.resize(num_columns);
  std::uint64_t num_checked = 0;
  for (std::uint64_t column = 0; column < num_columns; ++column) {
    const Entry& entry = plan.entry(column);
    const std::uint64_t num_free = 8 * plan.view_bytes - static_cast<std::uint64_t>(std::popcount(entry.mask));
    const auto num_patch = static_cast<std::uint64_t>(std::popcount(entry.patch()));
    const bool deviates = num_patch > 0 && load_bits(row.data, num_checked, 1) == 0;
    account.values += num_free;
    account.marks += num_patch > 0 ? 1 : 0;
    account.exceptions += deviates ? num_patch : 0;
    num_checked += num_patch > 0 ? 1 : 0;
    account.word_bits[column] = static_cast<float>(num_free + (num_patch > 0 ? 1 : 0) + (deviates ? num_patch : 0));
  }
}

}  // namespace stillbit::ibp
