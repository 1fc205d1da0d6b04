#pragma once

#include <cstdint>

namespace stillbit::fields {

/// How the fields of 64 bytes of words become a plane, where they follow each other without gaps: the inverse of a
/// FieldUnpacking. The fields of each 8 bytes of words are brought to their low end, and shifted left to where these
/// bits begin in a byte. What is in even groups of 8 bytes, and in odd ones, is then moved by a permutation for each,
/// since they may share a byte: `from_byte[odd][i]` is the byte that goes to byte i, where bit i of `moved[odd]` is
/// set.
struct FieldPacking {
  std::uint8_t from_byte[2][64] = {};
  std::uint64_t moved[2] = {};
  std::uint64_t shift[8] = {};  ///< of each 8 bytes, in bits
};

/// The fewest bits that fields may have to be packed so: those of every second 8 bytes do not share a byte then.
[[nodiscard]] unsigned min_packed_bits(unsigned word_bytes) noexcept;

/// Precondition: from `min_packed_bits` to `max_field_bits`.
[[nodiscard]] FieldPacking packing_for(unsigned word_bytes, unsigned field_bits) noexcept;

}  // namespace stillbit::fields
