#include "fields/unpacking.hpp"

#include <algorithm>
#include <iterator>

namespace stillbit::fields {

unsigned max_field_bits(unsigned word_bytes) noexcept {
  // The fields of 8 bytes' worth of words start at a multiple of 8, 4, 2 or 1 bits, in words of 1, 2, 4 or 8 bytes: 60
  // bits of fields then fit from bit 4 of a byte on, and 57 from bit 7 on. Fields are narrower than their words.
  return word_bytes == 1 ? 7 : word_bytes == 2 ? 15 : word_bytes == 4 ? 30 : 57;
}

FieldUnpacking unpacking_for(const FieldPlace& place) noexcept {
  FieldUnpacking result;
  const unsigned words_per_group = 8 / place.word_bytes;
  result.plane_bytes = std::uint64_t{words_per_group} * place.field_bits;
  for (unsigned i = 0; i < 64; ++i) {
    const unsigned group_bit = i / 8 * words_per_group * place.field_bits;
    const unsigned field_bit = group_bit % 8 + i % 8 / place.word_bytes * place.field_bits;
    const unsigned byte_in_word = i % place.word_bytes;
    const bool is_top = place.ends_on_top && byte_in_word + 1 == place.word_bytes;
    const unsigned bit = (is_top ? field_bit + place.field_bits - 8 : field_bit + 8 * byte_in_word - place.place) % 64;
    result.from_byte[i] = static_cast<std::uint8_t>(group_bit / 8 + i % 8);
    result.from_bit[i] = static_cast<std::uint8_t>(bit);
  }
  result.is_whole_bytes = std::all_of(std::begin(result.from_bit), std::end(result.from_bit),
                                      [](std::uint8_t bit) { return bit % 8 == 0; });
  if (result.is_whole_bytes) {
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned group_byte = result.from_byte[i] - i % 8;
      result.from_byte[i] = static_cast<std::uint8_t>(group_byte + result.from_bit[i] / 8);
      result.from_bit[i] = static_cast<std::uint8_t>(i % 8 * 8);
    }
  }
  return result;
}

}  // namespace stillbit::fields
