// Planes of fields of fixed width, one after the other without gaps, by BMI2's deposit and extract. Included inside a
// namespace, behind fields/writer.inl. The fields of 8 bytes of words are moved together: see fields::max_field_bits.

/// The same bits in each word of 8 bytes.
template <class Word>
inline std::uint64_t in_each_word(std::uint64_t bits) {
  constexpr std::uint64_t kEachWord = sizeof(Word) == 8 ? 1 : ~std::uint64_t{0} / static_cast<Word>(~Word{0});
  return bits * kEachWord;
}

/// Puts the fields of `count` words at `dst`: of each word the bits at `places`, `field_bits` of them. 8 bytes behind
/// the fields must be writable.
template <class Word>
inline void extract_fields(const std::byte* words, std::uint64_t count, std::uint64_t places, unsigned field_bits,
                           std::byte* dst) {
  constexpr unsigned kWords = 8 / sizeof(Word);
  const std::uint64_t all_places = in_each_word<Word>(places);
  std::uint64_t left = count;
  // The fields of eight words take whole bytes: no such run waits for the one before it.
  for (; left >= 8; left -= 8, words += 8 * sizeof(Word), dst += field_bits) {
    const auto group = [&](unsigned i) -> std::uint64_t {
      return _pext_u64(load<std::uint64_t>(words + i * sizeof(Word)), all_places);
    };
    if constexpr (sizeof(Word) == 2) {
      // Two groups: without a writer's state to carry.
      const std::uint64_t low = group(0);
      const std::uint64_t high = group(4);
      store(dst, low | high << (4 * field_bits));
      if (field_bits > 8) store(dst + 8, high >> (64 - 4 * field_bits));
      continue;
    }
    FieldWriter writer{dst};
    for (unsigned i = 0; i < 8; i += kWords) writer.put(group(i), kWords * field_bits);
  }
  FieldWriter writer{dst};
  for (; left >= kWords; left -= kWords, words += 8)
    writer.put(_pext_u64(load<std::uint64_t>(words), all_places), kWords * field_bits);
  for (; left > 0; --left, words += sizeof(Word)) writer.put(_pext_u64(load<Word>(words), places), field_bits);
}

/// Calls take_group(i, bits) for each 8 bytes' worth of words, of which word i is the first, and take_one(i, bits) for
/// each word that is left over. `bits` begin with their fields; what is above these has no meaning. 8 bytes behind the
/// fields must be readable.
template <class Word, class TakeGroup, class TakeOne>
inline void take_groups(const std::byte* src, std::uint64_t count, unsigned field_bits, const TakeGroup& take_group,
                        const TakeOne& take_one) {
  constexpr unsigned kWords = 8 / sizeof(Word);
  const auto bits_from = [&](std::uint64_t i) {
    const std::uint64_t bit = i * field_bits;
    return load<std::uint64_t>(src + bit / 8) >> (bit % 8);
  };
  const std::uint64_t num_grouped = count / kWords * kWords;
  std::uint64_t i = 0;
  for (; i < num_grouped; i += kWords) take_group(i, bits_from(i));
  for (; i < count; ++i) take_one(i, bits_from(i));
}
