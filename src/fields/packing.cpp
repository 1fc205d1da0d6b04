#include "fields/packing.hpp"

namespace stillbit::fields {

unsigned min_packed_bits(unsigned word_bytes) noexcept {
  return word_bytes;  // 8 bits in the fields of 8 bytes of words
}

FieldPacking packing_for(unsigned word_bytes, unsigned field_bits) noexcept {
  FieldPacking result;
  const unsigned group_bits = 8 / word_bytes * field_bits;
  for (unsigned group = 0; group < 8; ++group) {
    const unsigned first_bit = group * group_bits;
    const unsigned shift = first_bit % 8;
    result.shift[group] = shift;
    for (unsigned i = 0; 8 * i < shift + group_bits; ++i) {
      const unsigned to = first_bit / 8 + i;
      result.from_byte[group % 2][to] = static_cast<std::uint8_t>(8 * group + i);
      result.moved[group % 2] |= std::uint64_t{1} << to;
    }
  }
  return result;
}

}  // namespace stillbit::fields
