// Free bits by BMI2's extract and deposit. Included behind kernels.inl.

inline void gather_free_bits(const RowMasks& masks, const std::byte* row, BitWriter& writer) {
  for (std::uint64_t offset = 0; offset < masks.row_bytes; offset += 8) {
    const std::uint64_t free = load<std::uint64_t>(masks.free + offset);
    writer.put(extract_bits(load_row_word(row, offset, masks.row_bytes), free),
               static_cast<unsigned>(__builtin_popcountll(free)));
  }
}

inline void spread_free_bits(const RowMasks& masks, const std::byte* src, std::byte* dst) {
  std::uint64_t bit_offset = masks.num_checked;
  std::uint64_t offset = 0;
  const auto next_word = [&] {
    const std::uint64_t free = load<std::uint64_t>(masks.free + offset);
    const std::uint64_t word =
        deposit_bits(load_stream(src, bit_offset), free) | load<std::uint64_t>(masks.value + offset);
    bit_offset += static_cast<unsigned>(__builtin_popcountll(free));
    return word;
  };
  for (; offset + 8 <= masks.row_bytes; offset += 8) store(dst + offset, next_word());
  if (offset < masks.row_bytes) {
    const std::uint64_t word = next_word();
    __builtin_memcpy(dst + offset, &word, masks.row_bytes - offset);
  }
}
