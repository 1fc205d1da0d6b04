// Planes of fields to and from placed fields, by BMI2, behind stages.inl and fields/plane_bmi2.inl.

template <class Word>
inline void pack_fields(const RowLayout& layout, const Word* placed, std::uint64_t count, std::byte* dst) {
  extract_fields<Word>(reinterpret_cast<const std::byte*>(placed), count, layout.field_places, layout.field_bits, dst);
}

template <class Word>
inline void unpack_fields(const RowLayout& layout, const std::byte* src, std::uint64_t count, Word* placed) {
  const std::uint64_t place = layout.field_places;
  const std::uint64_t places = in_each_word<Word>(place);
  take_groups<Word>(
      src, count, layout.field_bits,
      [&](std::uint64_t i, std::uint64_t bits) {
        store(reinterpret_cast<std::byte*>(placed + i), static_cast<std::uint64_t>(_pdep_u64(bits, places)));
      },
      [&](std::uint64_t i, std::uint64_t bits) { placed[i] = static_cast<Word>(_pdep_u64(bits, place)); });
}
