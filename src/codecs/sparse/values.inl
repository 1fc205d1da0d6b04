// What the loops of codec sparse work on: vectors, bit streams, and how words and codes become each other. Included
// once per instruction set, before elements.inl and kernels.inl, inside a namespace that supplies:
//
//   kVectorBytes

template <class Word>
struct VectorOf {
  typedef Word Type __attribute__((vector_size(kVectorBytes)));
};
template <class Word>
using Vector = typename VectorOf<Word>::Type;

template <class Word>
inline Vector<Word> load_vector(const std::byte* src) {
  Vector<Word> vector;
  __builtin_memcpy(&vector, src, kVectorBytes);
  return vector;
}

template <class Word>
inline Vector<Word> vector_of(std::uint64_t word) {
  return Vector<Word>{} + static_cast<Word>(word);
}

inline std::uint64_t low_ones(std::uint64_t num_bits) {
  return num_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << num_bits) - 1;
}

/// The place of the lowest one, which there must be.
inline unsigned lowest_one(std::uint64_t bits) {
  return static_cast<unsigned>(__builtin_ctzll(bits));
}

/// At least 57 bits of a stream from `bit_offset` on. Reads 8 bytes.
inline std::uint64_t load_stream(const std::byte* src, std::uint64_t bit_offset) {
  return load<std::uint64_t>(src + bit_offset / 8) >> (bit_offset % 8);
}

/// 64 bits of a stream. Reads 16 bytes.
inline std::uint64_t load_stream_word(const std::byte* src, std::uint64_t bit_offset) {
  const std::uint64_t shift = bit_offset % 8;
  const std::byte* byte = src + bit_offset / 8;
  return load<std::uint64_t>(byte) >> shift | load<std::uint64_t>(byte + 8) << 1 << (63 - shift);
}

// How words and codes become each other. Three types with the same functions:
//
//   has_code(word), code_of(word): precondition of the second: has_code
//   word_of(code, &word): false where the code names no word

template <class Word>
struct SingleValue {
  explicit SingleValue(const RowLayout& layout) : value(load<Word>(layout.values)) {}
  [[nodiscard]] bool has_code(Word word) const { return word == value; }
  [[nodiscard]] std::uint64_t code_of(Word) const { return 0; }
  [[nodiscard]] bool word_of(std::uint64_t, Word& word) const {
    word = value;
    return true;
  }
  Word value;
};

template <class Word>
struct Dictionary {
  explicit Dictionary(const RowLayout& layout)
      : slots(layout.slots), slot_shift(layout.slot_shift), values(layout.values), num_values(layout.num_values) {}
  [[nodiscard]] std::uint32_t find(std::uint64_t word) const {
    const Slot* slot = slots + (word * kHashFactor >> slot_shift);
    for (std::uint64_t i = 0; i < kMaxProbes; ++i, ++slot) {
      if (slot->code == kFreeSlot || slot->word == word) return slot->code;
    }
    return kFreeSlot;
  }
  [[nodiscard]] bool has_code(Word word) const { return find(word) != kFreeSlot; }
  [[nodiscard]] std::uint64_t code_of(Word word) const { return find(word); }
  [[nodiscard]] bool word_of(std::uint64_t code, Word& word) const {
    if (code >= num_values) return false;
    word = load<Word>(values + code * sizeof(Word));
    return true;
  }
  const Slot* slots;
  unsigned slot_shift;
  const std::byte* values;
  std::uint64_t num_values;
};

template <class Word>
struct Window {
  static constexpr unsigned kWordBits = 8 * sizeof(Word);
  explicit Window(const RowLayout& layout)
      : sign_bits(layout.sign_bits),
        drop_bits(layout.sign_bits + layout.zero_bits),
        sign_mask(static_cast<Word>(std::uint64_t{layout.sign_bits} << (kWordBits - 1))),
        zero_mask(static_cast<Word>(low_ones(layout.zero_bits))),
        base(layout.base),
        offset_mask(layout.offset_mask),
        max_offset(layout.max_offset) {}
  [[nodiscard]] std::uint64_t offset_of(Word word) const {
    const std::uint64_t magnitude = static_cast<std::uint64_t>(static_cast<Word>(word << sign_bits)) >> drop_bits;
    return (magnitude - base) & offset_mask;
  }
  [[nodiscard]] bool has_code(Word word) const {
    return static_cast<unsigned>(offset_of(word) <= max_offset) & static_cast<unsigned>((word & zero_mask) == 0);
  }
  [[nodiscard]] std::uint64_t code_of(Word word) const {
    return offset_of(word) << sign_bits | (word & sign_mask) >> (kWordBits - 1);
  }
  [[nodiscard]] bool word_of(std::uint64_t code, Word& word) const {
    // Shifted up and back so that a sum that wraps around loses its upper bits.
    const auto magnitude = static_cast<Word>(((code >> sign_bits) + base) << drop_bits);
    word = static_cast<Word>(magnitude >> sign_bits | (static_cast<Word>(code << (kWordBits - 1)) & sign_mask));
    return true;
  }
  unsigned sign_bits;
  unsigned drop_bits;
  Word sign_mask;
  Word zero_mask;
  std::uint64_t base;
  std::uint64_t offset_mask;
  std::uint64_t max_offset;
};

/// Calls `body` with what the plan codes words with.
template <class Word, class Body>
inline auto with_values(const RowLayout& layout, Body body) {
  if (layout.value_mode == ValueMode::kWindow) return body(Window<Word>(layout));
  if (layout.num_values > 1) return body(Dictionary<Word>(layout));
  return body(SingleValue<Word>(layout));
}
