// How words that follow each other in memory come to the lanes that they belong to, which AVX2 has no instruction for.
// Included inside a namespace.

/// For each set of eight lanes of two bytes, which bytes bring words that follow each other to these lanes, in order,
/// and zeros to the others.
struct Expansions {
  alignas(16) std::uint8_t from_byte[256][16] = {};

  constexpr Expansions() {
    constexpr unsigned kZero = 0x80;
    for (unsigned lanes = 0; lanes < 256; ++lanes) {
      unsigned next = 0;
      for (unsigned i = 0; i < 16; ++i)
        from_byte[lanes][i] = static_cast<std::uint8_t>((lanes >> (i / 2) & 1U) != 0 ? next++ : kZero);
    }
  }
};
constexpr Expansions kExpansions;
