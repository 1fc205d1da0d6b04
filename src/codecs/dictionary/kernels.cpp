#include "codecs/dictionary/kernels.hpp"

#include <bit>

// Tables are taken by value: what is written through `dst` could otherwise change their pointers, as far as a compiler
// knows.

namespace stillbit::dictionary {
namespace {

/// How an element is stored.
struct Element {
  std::uint64_t field;
  std::uint64_t number;    ///< of a miss
  std::uint32_t patch;     ///< patch code
  bool is_patch;           ///< the field has the marker
  bool is_miss;            ///< the patch code is that of misses
  bool cannot_be_encoded;  ///< the row must be stored raw
};

template <class Word>
[[gnu::always_inline]] inline Element classify(const KindTable& kind, const std::byte* slots, Word word) {
  const std::uint64_t sign = std::uint64_t{word} >> (8 * sizeof(Word) - 1) & kind.sign_bits;
  const std::uint64_t key = word & kind.domain_mask;
  std::uint64_t code = kNoEntry;
  if (!kind.is_window) {
    const std::byte* table = slots + kind.first_slot * sizeof(Slot<Word>);
    std::uint64_t at = (key * kHashFactor) >> kind.slot_shift;
    auto slot = load<Slot<Word>>(table + at * sizeof(Slot<Word>));
    while (slot.key != key && slot.entry != kNoEntry) {
      at = (at + 1) & kind.slot_mask;
      slot = load<Slot<Word>>(table + at * sizeof(Slot<Word>));
    }
    code = slot.entry;
    if (code < kind.num_coded) return {code << kind.sign_bits | sign, 0, 0, false, false, false};
    if (code != kNoEntry) {
      const auto patch = static_cast<std::uint32_t>(code - kind.num_coded);
      return {kind.marker << kind.sign_bits | sign, 0, patch, true, false, false};
    }
  }
  const std::uint64_t number = ((key >> kind.shift) - kind.base) & kind.wrap_mask;
  const bool has_number = ((key >> kind.shift) << kind.shift) == key && number <= kind.number_mask;
  if (kind.is_window && (number < kind.marker || !kind.has_marker))
    return {number << kind.sign_bits | sign, 0, 0, false, false, !has_number};
  return {kind.marker << kind.sign_bits | sign, number, kind.patch_mask, true, true, !has_number || !kind.has_misses};
}

/// The stored size of a row, and `visit(column, element)` for each of its elements up to the first one that cannot be
/// encoded.
template <class Word, class Visit>
[[gnu::always_inline]] inline std::uint64_t classify_row(const RowTables tables, const std::byte* slots,
                                                         const std::byte* row, Visit visit) {
  std::uint64_t num_bits = tables.num_field_bits;
  for (std::uint64_t column = 0; column < tables.num_columns; ++column) {
    const KindTable& kind = tables.kinds[tables.column_kinds[column]];
    const Element element = classify<Word>(kind, slots, load<Word>(row + column * sizeof(Word)));
    if (element.cannot_be_encoded) return tables.row_bytes;
    if (element.is_patch) num_bits += kind.patch_bits + (element.is_miss ? kind.number_bits : 0U);
    visit(column, element, kind);
  }
  const std::uint64_t num_bytes = (num_bits + 7) / 8;
  return num_bytes < tables.row_bytes ? num_bytes : tables.row_bytes;
}

template <class Word>
void measure(const RowTables& tables, const std::byte* slots, const std::byte* rows, std::uint64_t num_rows,
             std::uint32_t* sizes) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    const std::uint64_t size = classify_row<Word>(tables, slots, rows + i * tables.row_bytes,
                                                  [](std::uint64_t, const Element&, const KindTable&) {});
    sizes[i] = static_cast<std::uint32_t>(size);
  }
}

/// Appends fields of up to 64 bits to a bit stream. Writes whole words: 8 bytes behind the stream must be writable.
struct BitWriter {
  std::byte* dst;
  std::uint64_t pending = 0;  ///< the stream's last bits, not yet written
  unsigned num_pending = 0;   ///< 0 to 63

  void put(std::uint64_t bits, unsigned num_bits) {
    pending |= bits << num_pending;
    num_pending += num_bits;
    if (num_pending < 64) return;
    store(dst, pending);
    dst += 8;
    num_pending -= 64;
    pending = num_pending == 0 ? 0 : bits >> (num_bits - num_pending);
  }

  void finish() { store(dst, pending); }
};

template <class Word>
std::uint64_t encode(const RowTables& shared_tables, const std::byte* slots, const std::byte* row, std::byte* dst) {
  const RowTables tables = shared_tables;
  std::uint16_t patches[kMaxColumns];
  std::uint64_t num_patches = 0;
  BitWriter writer{dst};
  // The fields are fewer bytes than the row has, in every plan.
  const std::uint64_t num_bytes =
      classify_row<Word>(tables, slots, row, [&](std::uint64_t column, const Element& element, const KindTable& kind) {
        writer.put(element.field, kind.code_bits + std::uint32_t{kind.sign_bits});
        if (element.is_patch) patches[num_patches++] = static_cast<std::uint16_t>(column);
      });
  if (num_bytes == tables.row_bytes) {
    std::memcpy(dst, row, tables.row_bytes);
    return num_bytes;
  }
  const auto element_at = [&](std::uint64_t column) {
    return classify<Word>(tables.kinds[tables.column_kinds[column]], slots, load<Word>(row + column * sizeof(Word)));
  };
  std::uint64_t num_misses = 0;
  for (std::uint64_t i = 0; i < num_patches; ++i) {
    const Element element = element_at(patches[i]);
    writer.put(element.patch, tables.kinds[tables.column_kinds[patches[i]]].patch_bits);
    if (element.is_miss) patches[num_misses++] = patches[i];
  }
  for (std::uint64_t i = 0; i < num_misses; ++i)
    writer.put(element_at(patches[i]).number, tables.kinds[tables.column_kinds[patches[i]]].number_bits);
  writer.finish();
  return num_bytes;
}

/// 64 bits of a stream from any bit on. 9 bytes must be readable.
inline std::uint64_t load_stream(const std::byte* stream, std::uint64_t bit_offset) {
  const std::byte* src = stream + bit_offset / 8;
  const unsigned shift = static_cast<unsigned>(bit_offset % 8);
  return load<std::uint64_t>(src) >> shift | static_cast<std::uint64_t>(src[8]) << 1 << (63 - shift);
}

/// As many bits as a word has, at least. 9 bytes must be readable.
template <class Word>
inline std::uint64_t load_word(const std::byte* stream, std::uint64_t bit_offset) {
  if constexpr (sizeof(Word) == 8) return load_stream(stream, bit_offset);
  return load<std::uint64_t>(stream + bit_offset / 8) >> (bit_offset % 8);
}

/// At least 25 bits of a stream from any bit on. 4 bytes must be readable.
inline std::uint32_t load_short(const std::byte* stream, std::uint64_t bit_offset) {
  return load<std::uint32_t>(stream + bit_offset / 8) >> (bit_offset % 8);
}

/// Decodes the columns from `first` to `end`, which have dictionaries: a patch gets its sign alone, and its column is
/// appended to `patches`. Returns how many there are then.
template <class Word, bool kHasMarkers>
inline std::uint64_t decode_columns(const RowTables tables, std::uint64_t first, std::uint64_t end,
                                    const std::byte* src, std::byte* dst, std::uint16_t* patches,
                                    std::uint64_t num_patches) {
  for (std::uint64_t column = first; column < end; ++column) {
    const std::uint32_t field = load_short(src, tables.bit_offsets[column]) & tables.field_masks[column];
    const std::uint64_t at = tables.first_words[column] + field;
    store(dst + column * sizeof(Word), load<Word>(tables.words + at * sizeof(Word)));
    if constexpr (kHasMarkers) {
      patches[num_patches] = static_cast<std::uint16_t>(column);
      num_patches += field >= tables.thresholds[column] ? 1 : 0;
    }
  }
  return num_patches;
}

/// The same where they have windows.
template <class Word>
inline std::uint64_t decode_windows(const RowTables tables, std::uint64_t first, std::uint64_t end,
                                    const std::byte* src, std::byte* dst, std::uint16_t* patches,
                                    std::uint64_t num_patches) {
  for (std::uint64_t column = first; column < end; ++column) {
    const KindTable& kind = tables.kinds[tables.column_kinds[column]];
    const std::uint64_t field = load_word<Word>(src, tables.bit_offsets[column]) & kind.field_mask;
    const std::uint64_t code = field >> kind.sign_bits;
    const std::uint64_t sign = (field & kind.sign_bits) << (8 * sizeof(Word) - 1);
    const bool is_patch = kind.has_marker && code == kind.marker;
    const std::uint64_t word = is_patch ? 0 : ((code + kind.base) & kind.wrap_mask) << kind.shift;
    store(dst + column * sizeof(Word), static_cast<Word>(word | sign));
    patches[num_patches] = static_cast<std::uint16_t>(column);
    num_patches += is_patch ? 1 : 0;
  }
  return num_patches;
}

/// Puts the patches of a row, whose columns `patches` has, into what was decoded of it.
template <class Word>
inline bool decode_patches(const RowTables tables, const std::byte* src, std::uint64_t num_bytes, std::byte* dst,
                           std::uint16_t* patches, std::uint64_t num_patches) {
  const std::uint64_t num_bits = 8 * num_bytes;
  std::uint64_t bit_offset = tables.num_field_bits;
  std::uint64_t num_misses = 0;
  const auto add = [&](std::uint64_t column, Word word) {
    std::byte* const place = dst + column * sizeof(Word);
    store(place, static_cast<Word>(load<Word>(place) | word));
  };
  for (std::uint64_t i = 0; i < num_patches; ++i) {
    const std::uint64_t column = patches[i];
    const KindTable& kind = tables.kinds[tables.column_kinds[column]];
    if (bit_offset + kind.patch_bits > num_bits) return false;
    const std::uint32_t code = load_short(src, bit_offset) & kind.patch_mask;
    bit_offset += kind.patch_bits;
    if (kind.has_misses && code == kind.patch_mask) {
      patches[num_misses++] = static_cast<std::uint16_t>(column);
    } else {
      add(column, load<Word>(tables.words + (std::uint64_t{kind.first_patch_word} + code) * sizeof(Word)));
    }
  }
  for (std::uint64_t i = 0; i < num_misses; ++i) {
    const KindTable& kind = tables.kinds[tables.column_kinds[patches[i]]];
    if (bit_offset + kind.number_bits > num_bits) return false;
    const std::uint64_t number = load_stream(src, bit_offset) & kind.number_mask;
    bit_offset += kind.number_bits;
    add(patches[i], static_cast<Word>(((number + kind.base) & kind.wrap_mask) << kind.shift));
  }
  return true;
}

template <class Word>
std::uint64_t decode(const RowTables& shared_tables, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  const RowTables tables = shared_tables;
  std::uint16_t patches[kMaxColumns];
  for (std::uint64_t i = 0; i < num_rows; ++i, dst += tables.row_bytes) {
    const StoredRow row = rows[i];
    if (row.is_raw) {
      std::memcpy(dst, row.data, tables.row_bytes);
      continue;
    }
    if (row.num_bytes < tables.minimum_row_bytes) return i;
    std::uint64_t num_patches = 0;
    for (std::uint64_t s = 0; s < tables.num_segments; ++s) {
      const Segment segment = tables.segments[s];
      if (segment.is_window) {
        num_patches = decode_windows<Word>(tables, segment.first, segment.end, row.data, dst, patches, num_patches);
      } else if (segment.has_markers) {
        num_patches =
            decode_columns<Word, true>(tables, segment.first, segment.end, row.data, dst, patches, num_patches);
      } else {
        decode_columns<Word, false>(tables, segment.first, segment.end, row.data, dst, patches, num_patches);
      }
    }
    if (!decode_patches<Word>(tables, row.data, row.num_bytes, dst, patches, num_patches)) return i;
  }
  return num_rows;
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word>};

constexpr Kernels kKernels[4] = {kKernelsFor<std::uint8_t>, kKernelsFor<std::uint16_t>, kKernelsFor<std::uint32_t>,
                                 kKernelsFor<std::uint64_t>};

}  // namespace

#if defined(__x86_64__)
namespace avx2 {
extern const Decode kDecode[3];
}
namespace avx512 {
extern const Decode kDecode[3];
}
#endif

Kernels kernels(unsigned view_bytes, [[maybe_unused]] cpu::Isa isa) noexcept {
  const int i = std::countr_zero(view_bytes) & 3;
  Kernels kernels = kKernels[i];
#if defined(__x86_64__)
  const bool has_vectors = i < 3;
  if (has_vectors && isa >= cpu::Isa::kAvx512) {
    kernels.decode = avx512::kDecode[i];
  } else if (has_vectors && isa >= cpu::Isa::kAvx2) {
    kernels.decode = avx2::kDecode[i];
  }
#endif
  return kernels;
}

}  // namespace stillbit::dictionary
