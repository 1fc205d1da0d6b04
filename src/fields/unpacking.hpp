#pragma once

#include <cstdint>

namespace stillbit::fields {

/// Where fields lie in words: each word has one field of `field_bits` bits, from bit `place` on.
struct FieldPlace {
  unsigned word_bytes = 0;  ///< 1, 2, 4 or 8
  unsigned field_bits = 0;
  unsigned place = 0;
  /// The field's highest 8 bits are the word's highest byte, whatever `place` says of the others: a sign gets there so.
  bool ends_on_top = false;
};

/// The widest fields that 8 bytes' worth of words may have: from any bit of a byte on, their fields lie within 8 bytes.
[[nodiscard]] unsigned max_field_bits(unsigned word_bytes) noexcept;

/// How 64 bytes of words get their fields out of the plane of them, where fields follow each other without gaps. A
/// permutation brings byte `from_byte[i]` of the plane to byte i; a shift then takes for byte i the 8 bits from bit
/// `from_bit[i]` on (modulo 64) of the 8 bytes that it lies in. What is not of the field is left to be masked.
struct FieldUnpacking {
  std::uint8_t from_byte[64] = {};
  std::uint8_t from_bit[64] = {};
  std::uint64_t plane_bytes = 0;  ///< that the fields of 64 bytes of words take
  bool is_whole_bytes = false;    ///< the permutation alone does it: the shift takes bytes as they are
};

/// Precondition: at most `max_field_bits`.
[[nodiscard]] FieldUnpacking unpacking_for(const FieldPlace& place) noexcept;

}  // namespace stillbit::fields
