// How rows are taken apart by AVX-512. Included inside a namespace, behind layout.inl, lanes_avx512.inl and
// fields/packer_avx512.inl.

/// Tells which words do not fit into fields. `kJoin` is how these become words.
template <class Word, Join kJoin>
struct Splitter {
  unsigned sign_shift;
  __m512i sign_place;
  __m512i dropped;
  __m512i marker;

  explicit Splitter(const RowLayout& layout)
      : sign_shift(8 * sizeof(Word) - 1 - layout.dropped_bits),
        sign_place(Lanes<Word>::set(layout.dropped + 1)),
        dropped(Lanes<Word>::set(layout.dropped)),
        marker(Lanes<Word>::set(layout.marker)) {}

  /// The placed offsets of words.
  [[nodiscard]] __m512i offsets(__m512i words, __m512i bases) const {
    return Lanes<Word>::subtract(placed_values(words), bases);
  }
  [[nodiscard]] MaskOf<Word> exceptions(__m512i words, __m512i offsets) const {
    const MaskOf<Word> beyond = Lanes<Word>::not_below(offsets, marker);
    return kJoin == Join::kRotated ? beyond : beyond | Lanes<Word>::any_bit(words, dropped);
  }

 private:
  [[nodiscard]] __m512i placed_values(__m512i words) const {
    if constexpr (kJoin == Join::kAsIs) return words;
    if constexpr (kJoin == Join::kRotated) return Lanes<Word>::rotate_left(words);
    const __m512i signs = _mm512_and_si512(Lanes<Word>::shift_right(words, sign_shift), sign_place);
    return _mm512_or_si512(Lanes<Word>::add(words, words), signs);
  }
};

template <class Word, Join kJoin, bool kHasColumnBases>
inline std::uint64_t count_exceptions_of(const RowLayout& layout, const std::byte* row) {
  const Splitter<Word, kJoin> splitter(layout);
  const __m512i base = _mm512_loadu_si512(layout.bases);
  const auto exceptions_at = [&](std::uint64_t offset, __m512i words) {
    const __m512i bases = kHasColumnBases ? _mm512_loadu_si512(layout.bases + offset) : base;
    return splitter.exceptions(words, splitter.offsets(words, bases));
  };
  std::uint64_t num_exceptions = 0;
  std::uint64_t offset = 0;
  for (; offset + kVectorBytes <= layout.row_bytes; offset += kVectorBytes)
    num_exceptions += count_of(exceptions_at(offset, _mm512_loadu_si512(row + offset)));
  if (offset < layout.row_bytes) {
    const MaskOf<Word> lanes = lanes_of<Word>(layout.row_bytes - offset);
    num_exceptions +=
        count_of(static_cast<MaskOf<Word>>(exceptions_at(offset, Lanes<Word>::load(row + offset, lanes)) & lanes));
  }
  return num_exceptions;
}

template <class Word, bool kIsSigned>
inline std::uint64_t count_exceptions(const RowLayout& layout, const std::byte* row) {
  return with_join<kIsSigned>(layout, [&](auto join, auto has_column_bases) {
    return count_exceptions_of<Word, join, has_column_bases>(layout, row);
  });
}

/// Packs placed fields, the narrowest by BMI2.
template <class Word>
class PlacedFieldPacker {
 public:
  explicit PlacedFieldPacker(const RowLayout& layout)
      : layout_(layout),
        is_by_vectors_(layout.packing != nullptr),
        packer_(is_by_vectors_ ? *layout.packing : fields::FieldPacking{}, layout.field_bits, layout.dropped_bits) {}

  /// The fields of 64 bytes of words.
  [[nodiscard]] __m512i pack(__m512i placed) const {
    if (is_by_vectors_) return packer_.pack(placed);
    alignas(64) std::byte words[kVectorBytes];
    alignas(64) std::byte plane[kVectorBytes] = {};
    _mm512_store_si512(words, placed);
    extract_fields<Word>(words, kVectorBytes / sizeof(Word), layout_.field_places, layout_.field_bits, plane);
    return _mm512_load_si512(plane);
  }

 private:
  const RowLayout& layout_;
  bool is_by_vectors_;
  FieldPacker<Word> packer_;
};

/// As RowCodec::encode.
template <class Word, Join kJoin, bool kHasColumnBases>
inline std::uint64_t encode_words(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  const Splitter<Word, kJoin> splitter(layout);
  const PlacedFieldPacker<Word> packer(layout);
  const __m512i base = _mm512_loadu_si512(layout.bases);
  const std::byte* const bases = layout.bases;
  const std::uint64_t plane_step = layout.unpacking.plane_bytes;
  const std::uint64_t row_bytes = layout.row_bytes;
  std::byte* plane = dst;
  std::byte* const plane_end = dst + layout.plane_bytes;
  std::byte* next_exception = plane_end;
  // With one more a row is stored raw.
  std::byte* const last_end = layout.field_bits == 0 ? plane_end : dst + row_bytes - 1;

  // The placed fields of a vector of words, of which exceptions are stored.
  const auto split = [&](std::uint64_t offset, __m512i words, MaskOf<Word> lanes) __attribute__((always_inline)) {
    const __m512i offsets = splitter.offsets(words, kHasColumnBases ? _mm512_loadu_si512(bases + offset) : base);
    const MaskOf<Word> found = splitter.exceptions(words, offsets) & lanes;
    _mm512_storeu_si512(next_exception, Lanes<Word>::compress(found, words));
    next_exception += count_of(found) * sizeof(Word);
    return Lanes<Word>::blend(found, offsets, splitter.marker);
  };
  const auto store_raw = [&] {
    __builtin_memcpy(dst, row, row_bytes);
    return row_bytes;
  };
  std::uint64_t offset = 0;
  // As long as what is stored behind a vector's fields is overwritten by other fields.
  for (; offset + kVectorBytes <= row_bytes && plane_end - plane >= std::int64_t{kVectorBytes};
       offset += kVectorBytes) {
    const __m512i placed = split(offset, _mm512_loadu_si512(row + offset), kAllLanes<Word>);
    if (next_exception > last_end) return store_raw();
    _mm512_storeu_si512(plane, packer.pack(placed));
    plane += plane_step;
  }
  for (; offset < row_bytes; offset += kVectorBytes) {
    const std::uint64_t left = row_bytes - offset;
    const MaskOf<Word> lanes = left < kVectorBytes ? lanes_of<Word>(left) : kAllLanes<Word>;
    const __m512i placed = split(offset, Lanes<Word>::load(row + offset, lanes), lanes);
    if (next_exception > last_end) return store_raw();
    const auto room = static_cast<std::uint64_t>(plane_end - plane);
    const std::uint64_t num_bytes = room < plane_step ? room : plane_step;
    const __m512i fields = packer.pack(Lanes<Word>::blend(lanes, _mm512_setzero_si512(), placed));
    _mm512_mask_storeu_epi8(plane, (std::uint64_t{1} << num_bytes) - 1, fields);
    plane += plane_step;
  }
  return static_cast<std::uint64_t>(next_exception - dst);
}

template <class Word, bool kIsSigned>
inline std::uint64_t encode_row(const RowLayout& layout, const std::byte* row, std::byte* dst) {
  return with_join<kIsSigned>(layout, [&](auto join, auto has_column_bases) {
    return encode_words<Word, join, has_column_bases>(layout, row, dst);
  });
}
