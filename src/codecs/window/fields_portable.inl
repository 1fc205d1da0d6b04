// Planes of fields to and from placed fields, in plain C++, behind stages.inl and fields/plane.inl.

template <class Word>
inline void pack_fields(const RowLayout& layout, const Word* placed, std::uint64_t count, std::byte* dst) {
  const unsigned place = layout.dropped_bits;
  put_fields(dst, count, layout.field_bits, [&](std::uint64_t i) { return std::uint64_t{placed[i]} >> place; });
}

template <class Word>
inline void unpack_fields(const RowLayout& layout, const std::byte* src, std::uint64_t count, Word* placed) {
  const unsigned place = layout.dropped_bits;
  take_fields(src, count, layout.field_bits,
              [&](std::uint64_t i, std::uint64_t field) { placed[i] = static_cast<Word>(field << place); });
}
