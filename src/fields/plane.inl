// Planes of fields of fixed width, one after the other without gaps, in plain C++, for any instruction set. Included
// inside a namespace, behind fields/writer.inl. A field has 0 to 57 bits.

/// Puts `count` fields at `dst`: field_of(i) for each i. 8 bytes behind them must be writable.
template <class FieldOf>
inline void put_fields(std::byte* dst, std::uint64_t count, unsigned field_bits, const FieldOf& field_of) {
  if (field_bits == 8) {
    for (std::uint64_t i = 0; i < count; ++i) dst[i] = static_cast<std::byte>(field_of(i));
    return;
  }
  if (field_bits % 8 == 0 && field_bits > 0) {
    // What a store writes too much the next one writes again; behind the last there is room.
    const std::uint64_t field_bytes = field_bits / 8;
    for (std::uint64_t i = 0; i < count; ++i) store(dst + i * field_bytes, static_cast<std::uint64_t>(field_of(i)));
    return;
  }
  FieldWriter writer{dst};
  for (std::uint64_t i = 0; i < count; ++i) writer.put(field_of(i), field_bits);
}

/// Calls take(i, field) for each of `count` fields. 8 bytes behind them must be readable.
template <class Take>
inline void take_fields(const std::byte* src, std::uint64_t count, unsigned field_bits, const Take& take) {
  if (field_bits == 8) {
    for (std::uint64_t i = 0; i < count; ++i) take(i, static_cast<std::uint8_t>(src[i]));
    return;
  }
  if (field_bits == 24) {
    for (std::uint64_t i = 0; i < count; ++i) take(i, load<std::uint32_t>(src + 3 * i) & 0xFFFFFF);
    return;
  }
  const std::uint64_t mask = (std::uint64_t{1} << field_bits) - 1;
  for (std::uint64_t i = 0, bit = 0; i < count; ++i, bit += field_bits)
    take(i, load<std::uint64_t>(src + bit / 8) >> (bit % 8) & mask);
}
