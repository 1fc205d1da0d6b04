#pragma once

#include "codecs/dictionary/layout.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::dictionary {

/// Columns that vector kernels lay out together. Masks of columns have a bit for each.
inline constexpr unsigned kBlockColumns = 16;

/// Fields of at most so many bits are looked up by choosing between vectors of words, others in memory.
inline constexpr unsigned kMaxShortBits = 2;

/// One number for each column of a block.
using BlockNumbers = std::uint32_t[kBlockColumns];

/// The fields of a block where none has more than kMaxShortBits bits. They are taken bit by bit: the first bits of all
/// columns together, then all second bits.
struct ShortFields {
  std::uint32_t bits[kMaxShortBits];           ///< where these bits are, from the block's first one on
  std::uint16_t columns[kMaxShortBits];        ///< which columns have them
  std::uint16_t any_is_marker[kMaxShortBits];  ///< columns whose marker does not ask for a 1 there
  BlockNumbers words[1U << kMaxShortBits];     ///< what fields 0, 1 … stand for; a patch has its sign alone
};

/// The fields of any other block.
struct WideFields {
  BlockNumbers places;       ///< where they start, in bits behind the block's first one
  BlockNumbers masks;        ///< their bits
  BlockNumbers thresholds;   ///< from here on they are patches, where there are markers
  BlockNumbers first_words;  ///< which of the tables' words field 0 stands for
};

/// A block of columns as vector kernels read it: what KindTable says of each column's kind, lane by lane. Words are of
/// at most 4 bytes, in the low end of a lane. Lanes behind a row's last column are zero.
struct alignas(64) ColumnBlock {
  std::uint32_t field_bits;   ///< of all fields of the block
  std::uint16_t markers;      ///< columns whose kind has a marker
  std::uint16_t has_misses;   ///< columns whose kind has misses
  std::uint16_t windows;      ///< columns that have windows
  std::uint16_t bit_patches;  ///< columns whose patch codes have one bit
  bool has_short_fields;      ///< none has more than kMaxShortBits bits
  bool has_bit_patches;       ///< no patch code has more than one bit
  std::uint8_t patch_bits[kBlockColumns];
  std::uint8_t number_bits[kBlockColumns];

  ShortFields short_fields;         ///< if has_short_fields
  WideFields wide_fields;           ///< if not
  BlockNumbers sign_bits;           ///< 1 where the field has a sign
  BlockNumbers patch_masks;         ///< the patch code of all ones
  BlockNumbers first_patch_words;   ///< which of the tables' words patch code 0 stands for
  BlockNumbers bit_patch_words[2];  ///< what patch codes 0 and 1 stand for, without sign, if has_bit_patches
  BlockNumbers number_masks;        ///< the bits of a number
  BlockNumbers shifts;              ///< a number becomes a word by this shift …
  BlockNumbers bases;               ///< … this sum …
  BlockNumbers domain_masks;        ///< … and these bits of it
};

/// The blocks of a row, up to where they repeat: block i + size is as block i is. Precondition: words are of at most 4
/// bytes. `tables` has what RowTableStorage lays out for each column and kind.
std::vector<ColumnBlock> make_blocks(const Plan& plan, const RowTables& tables);

}  // namespace stillbit::dictionary
