#include "codecs/window/account.hpp"

#include "core/bits.hpp"

namespace stillbit::window {

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const std::uint64_t num_columns = plan.num_columns();
  const unsigned field_bits = plan.field_bits;
  const std::uint64_t marker = (std::uint64_t{1} << field_bits) - 1;
  account.word_bits.resize(num_columns);
  account.codes += num_columns * field_bits;
  for (std::uint64_t column = 0; column < num_columns; ++column) {
    // The widest field, of 57 bits, still lies within 8 bytes.
    const bool is_exception = field_bits > 0 && load_bits(row.data, column * field_bits, field_bits) == marker;
    const std::uint64_t exception_bits = is_exception ? 8 * plan.view_bytes : 0;
    account.exceptions += exception_bits;
    account.word_bits[column] = static_cast<float>(field_bits + exception_bits);
  }
}

}  // namespace stillbit::window
