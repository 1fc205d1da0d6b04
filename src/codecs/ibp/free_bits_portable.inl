// Free bits by moves that were planned (moves.hpp). Included behind kernels.inl. A block of words takes each step
// together: compilers make vectors of that.

/// Calls body(words) with how many of a block's words are there: a constant where it is full.
template <class Body>
inline __attribute__((always_inline)) void with_block_words(const RowMasks& masks, std::uint64_t first,
                                                            const Body& body) {
  const std::uint64_t left = (masks.row_bytes + 7) / 8 - first;
  left >= kBlockWords ? body(kBlockWords) : body(left);
}

inline void gather_free_bits(const RowMasks& masks, const std::byte* row, BitWriter& writer) {
  std::uint64_t words[kBlockWords] = {};
  for (std::uint64_t first = 0; 8 * first < masks.row_bytes; first += kBlockWords) {
    const std::uint64_t left = masks.row_bytes - 8 * first;
    __builtin_memcpy(words, row + 8 * first, left < sizeof(words) ? left : sizeof(words));
    with_block_words(masks, first, [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) words[i] &= load<std::uint64_t>(masks.free + 8 * (first + i));
      for (unsigned step = 0; step < kNumMoves; ++step) {
        if (masks.moves[step] == nullptr) continue;
        const std::uint64_t* moves = masks.moves[step] + first;
        for (std::uint64_t i = 0; i < count; ++i) {
          const std::uint64_t moved = words[i] & moves[i];
          words[i] = (words[i] ^ moved) | moved >> (1U << step);
        }
      }
      const std::uint32_t* places = masks.places + first;
      for (std::uint64_t i = 0; i < count; ++i) writer.put(words[i], places[i + 1] - places[i]);
    });
  }
}

inline void spread_free_bits(const RowMasks& masks, const std::byte* src, std::byte* dst) {
  // Bits are loaded a block ahead: what was stored word by word is not at once there for vectors.
  std::uint64_t blocks[2][kBlockWords];
  const auto load_block = [&](std::uint64_t first) {
    std::uint64_t* words = blocks[first / kBlockWords % 2];
    // What is above a word's bits ends up outside its mask.
    with_block_words(masks, first, [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i)
        words[i] = load_stream(src, masks.num_checked + masks.places[first + i]);
    });
  };
  load_block(0);
  for (std::uint64_t first = 0; 8 * first < masks.row_bytes; first += kBlockWords) {
    std::uint64_t (&words)[kBlockWords] = blocks[first / kBlockWords % 2];
    const std::uint64_t left = masks.row_bytes - 8 * first;
    if (left > sizeof(words)) load_block(first + kBlockWords);
    with_block_words(masks, first, [&](std::uint64_t count) {
      for (unsigned step = kNumMoves; step-- > 0;) {
        if (masks.moves[step] == nullptr) continue;
        const std::uint64_t* moves = masks.moves[step] + first;
        for (std::uint64_t i = 0; i < count; ++i)
          words[i] = (words[i] & ~moves[i]) | (words[i] << (1U << step) & moves[i]);
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t offset = 8 * (first + i);
        words[i] = (words[i] & load<std::uint64_t>(masks.free + offset)) | load<std::uint64_t>(masks.value + offset);
      }
    });
    __builtin_memcpy(dst + 8 * first, words, left < sizeof(words) ? left : sizeof(words));
  }
}
