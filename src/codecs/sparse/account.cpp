#include "codecs/sparse/account.hpp"

#include "core/bits.hpp"

namespace stillbit::sparse {
namespace {

/// Finds the elements of a row: calls visit(i, upper) for each, in order, with the upper part of its column. Returns
/// the bits that the upper parts take.
template <class Visit>
std::uint64_t for_each_element(const Plan& plan, const std::byte* row, const Visit& visit) {
  const std::uint64_t num_columns = plan.num_columns();
  std::uint64_t num_elements = 0;
  if (plan.low_bits == 0) {
    for (std::uint64_t column = 0; column < num_columns; ++column) {
      if (load_bits(row, column, 1) == 1) visit(num_elements++, column);
    }
    return num_columns;
  }
  const std::uint64_t num_buckets = ((num_columns - 1) >> plan.low_bits) + 1;
  std::uint64_t bit = 0;
  for (std::uint64_t bucket = 0; bucket < num_buckets; ++bit) {
    if (load_bits(row, bit, 1) == 1) {
      visit(num_elements++, bucket);
    } else {
      ++bucket;
    }
  }
  return bit;
}

}  // namespace

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const std::uint64_t num_columns = plan.num_columns();
  const RowPrice price = row_price(plan);
  account.word_bits.assign(num_columns, static_cast<float>(price.fixed_bits) / static_cast<float>(num_columns));
  std::vector<std::uint64_t> uppers;
  const std::uint64_t upper_bits =
      for_each_element(plan, row.data, [&](std::uint64_t, std::uint64_t upper) { uppers.push_back(upper); });
  const unsigned field_bits = plan.low_bits + plan.code_bits;
  for (std::uint64_t i = 0; i < uppers.size(); ++i) {
    const std::uint64_t low = load_bits(row.data, upper_bits + i * field_bits, plan.low_bits);
    account.word_bits[uppers[i] << plan.low_bits | low] += static_cast<float>(price.element_bits);
  }
  account.positions += upper_bits + uppers.size() * plan.low_bits;
  account.codes += uppers.size() * plan.code_bits;

  const unsigned column_bits = column_bits_for(num_columns);
  std::uint64_t bit = upper_bits + uppers.size() * field_bits;
  for (; load_bits(row.data, bit, 1) == 1; bit += price.exception_bits) {
    account.exceptions += price.exception_bits;
    account.word_bits[load_bits(row.data, bit + 1, column_bits)] += static_cast<float>(price.exception_bits);
  }
  ++account.exceptions;  // the bit that says that there are no more
}

}  // namespace stillbit::sparse
