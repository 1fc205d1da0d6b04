// The loops over a row of the published layout. Included once per instruction set, inside a namespace that supplies:
//
//   extract_bits(word, mask), deposit_bits(bits, mask)
//   reverse_quarters(word): its four 16-bit parts in reverse order
//
// Words are treated eight bytes at a time, side by side as lanes. In memory the first lane is the lowest; in the bit
// stream the first word's bits come first, and they come highest first. With the lanes' order reversed both are the
// same, so that one extraction or deposit moves the bits of all lanes.

template <class Word>
constexpr unsigned kBits = 8 * sizeof(Word);
template <class Word>
constexpr unsigned kLanes = 8 / sizeof(Word);

/// 1 in every lane.
template <class Word>
constexpr std::uint64_t kOnes = ~std::uint64_t{0} / (~std::uint64_t{0} >> (64 - kBits<Word>));
template <class Word>
constexpr std::uint64_t kHighBits = kOnes<Word> << (kBits<Word> - 1);

template <class Word>
inline std::uint64_t reverse_lanes(std::uint64_t word) {
  if constexpr (sizeof(Word) == 1) {
    return __builtin_bswap64(word);
  } else if constexpr (sizeof(Word) == 2) {
    return reverse_quarters(word);
  } else if constexpr (sizeof(Word) == 4) {
    return word << 32 | word >> 32;
  } else {
    return word;
  }
}

/// By 0 to 64 bits, where a shift by 64 would be undefined.
inline std::uint64_t rotate_left(std::uint64_t word, unsigned num_bits) {
  return word << (num_bits % 64) | word >> ((64 - num_bits) % 64);
}

/// The high bit of each lane that is not 0.
template <class Word>
inline std::uint64_t lanes_not_zero(std::uint64_t word) {
  constexpr std::uint64_t kLow = ~kHighBits<Word>;
  return (((word & kLow) + kLow) | word) & kHighBits<Word>;
}

/// All bits of the lanes whose high bits are given.
template <class Word>
inline std::uint64_t whole_lanes(std::uint64_t high_bits) {
  return (high_bits - (high_bits >> (kBits<Word> - 1))) | high_bits;
}

/// Up to eight bytes, and zeros for those that there are not.
inline std::uint64_t load_part(const std::byte* src, std::uint64_t num_bytes) {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, src, num_bytes);
  return word;
}

/// Calls `visit(word, mask, value, present)` for eight bytes of the row after the other, until it returns false;
/// `present` has ones where there are bytes.
template <class Visit>
inline __attribute__((always_inline)) bool for_each_word(const std::byte* row, const std::byte* mask,
                                                         const std::byte* value, std::uint64_t row_bytes, Visit visit) {
  std::uint64_t offset = 0;
  for (; offset + 8 <= row_bytes; offset += 8) {
    if (!visit(load<std::uint64_t>(row + offset), load<std::uint64_t>(mask + offset),
               load<std::uint64_t>(value + offset), ~std::uint64_t{0})) {
      return false;
    }
  }
  const std::uint64_t left = row_bytes - offset;
  return left == 0 || visit(load_part(row + offset, left), load_part(mask + offset, left),
                            load_part(value + offset, left), (std::uint64_t{1} << (8 * left)) - 1);
}

template <class Word>
std::uint64_t saved_bits(const std::byte* row, const std::byte* mask, const std::byte* value, std::uint64_t row_bytes) {
  std::uint64_t num_bits = 0;
  for_each_word(row, mask, value, row_bytes, [&](std::uint64_t word, std::uint64_t m, std::uint64_t v, std::uint64_t) {
    const std::uint64_t differing = whole_lanes<Word>(lanes_not_zero<Word>((word & m) ^ v));
    num_bits += static_cast<unsigned>(__builtin_popcountll(m & ~differing));
    return true;
  });
  return num_bits;
}

/// Appends fields of up to 64 bits to a bit stream that begins with the highest bit. Writes eight bytes at a time:
/// those behind the stream are zeros.
template <class Word>
struct StreamWriter {
  std::byte* dst;
  std::uint64_t pending = 0;  ///< from the highest bit down
  unsigned num_pending = 0;   ///< 0 to 63

  void put(std::uint64_t bits, unsigned num_bits) {
    const std::uint64_t top = rotate_left(bits, 64 - num_bits);
    const std::uint64_t word = pending | top >> num_pending;
    store(dst, reverse_lanes<Word>(word));
    const unsigned total = num_pending + num_bits;
    const std::uint64_t carried = top << 1 << (63 - num_pending);
    pending = total >= 64 ? carried : word;
    dst += total / 64 * 8;
    num_pending = total % 64;
  }

  void finish() { store(dst, reverse_lanes<Word>(pending)); }
};

/// Bytes of the participation bits, filled up to whole words.
template <class Word>
inline std::uint64_t participation_bytes(std::uint64_t row_bytes) {
  return (row_bytes / sizeof(Word) + kBits<Word> - 1) / kBits<Word> * sizeof(Word);
}

template <class Word>
std::uint64_t encode(const std::byte* row, const std::byte* mask, const std::byte* value, std::uint64_t row_bytes,
                     std::byte* dst) {
  const std::uint64_t header_bytes = participation_bytes<Word>(row_bytes);
  StreamWriter<Word> writer{dst + header_bytes};
  std::uint64_t participation = 0;
  unsigned filled = 0;
  std::byte* header = dst;
  std::uint64_t num_bits = 0;
  for_each_word(row, mask, value, row_bytes,
                [&](std::uint64_t word, std::uint64_t m, std::uint64_t v, std::uint64_t present) {
                  const std::uint64_t differing = lanes_not_zero<Word>((word & m) ^ v);
                  participation |= extract_bits(~differing & present, kHighBits<Word>) << filled;
                  filled += kLanes<Word>;
                  if (filled == 64) {
                    store(header, participation);
                    header += 8;
                    participation = 0;
                    filled = 0;
                  }
                  const std::uint64_t kept = (~m | whole_lanes<Word>(differing)) & present;
                  const auto count = static_cast<unsigned>(__builtin_popcountll(kept));
                  writer.put(extract_bits(reverse_lanes<Word>(word), reverse_lanes<Word>(kept)), count);
                  num_bits += count;
                  return true;
                });
  writer.finish();
  const auto header_left = static_cast<std::uint64_t>(dst + header_bytes - header);
  __builtin_memcpy(header, &participation, header_left);
  return header_bytes + (num_bits + kBits<Word> - 1) / kBits<Word> * sizeof(Word);
}

/// 64 bits of a stream from any bit on, the first the highest. kReadAheadBytes must be readable.
template <class Word>
inline std::uint64_t load_stream(const std::byte* stream, std::uint64_t bit_offset) {
  const std::byte* src = stream + bit_offset / kBits<Word> * sizeof(Word);
  const auto shift = static_cast<unsigned>(bit_offset % kBits<Word>);
  const std::uint64_t high = reverse_lanes<Word>(load<std::uint64_t>(src));
  const std::uint64_t low = reverse_lanes<Word>(load<std::uint64_t>(src + 8));
  return high << shift | low >> 1 >> (63 - shift);
}

template <class Word>
bool decode(const std::byte* src, std::uint64_t stored_bytes, const std::byte* mask, const std::byte* value,
            std::uint64_t row_bytes, std::byte* dst) {
  const std::uint64_t header_bytes = participation_bytes<Word>(row_bytes);
  if (header_bytes > stored_bytes) return false;
  const std::uint64_t stream_bits = 8 * (stored_bytes - header_bytes);
  const std::byte* stream = src + header_bytes;
  std::uint64_t bit_offset = 0;
  std::uint64_t participation = 0;
  unsigned left = 0;
  // What is decoded lies where the masks do: `dst` takes the place of the row.
  std::uint64_t offset = 0;
  const auto decoded = [&](std::uint64_t m, std::uint64_t v, std::uint64_t present, std::uint64_t& word) {
    if (left == 0) {
      participation = load<std::uint64_t>(src + offset / sizeof(Word) / 8);
      left = 64;
    }
    const std::uint64_t agreeing = deposit_bits(participation, kOnes<Word>) << (kBits<Word> - 1);
    participation = participation >> (kLanes<Word> - 1) >> 1;
    left -= kLanes<Word>;
    const std::uint64_t agreeing_lanes = whole_lanes<Word>(agreeing);
    const std::uint64_t kept = ~(m & agreeing_lanes) & present;
    const auto count = static_cast<unsigned>(__builtin_popcountll(kept));
    const std::uint64_t bits = load_stream<Word>(stream, bit_offset);
    bit_offset += count;
    if (bit_offset > stream_bits) return false;
    // The first bits of the stream are the highest: they come down, and what follows them is not deposited.
    const std::uint64_t first = rotate_left(bits, count);
    word = reverse_lanes<Word>(deposit_bits(first, reverse_lanes<Word>(kept))) | (v & agreeing_lanes);
    return true;
  };
  std::uint64_t word = 0;
  for (; offset + 8 <= row_bytes; offset += 8) {
    if (!decoded(load<std::uint64_t>(mask + offset), load<std::uint64_t>(value + offset), ~std::uint64_t{0}, word)) {
      return false;
    }
    store(dst + offset, word);
  }
  if (const std::uint64_t rest = row_bytes - offset; rest > 0) {
    if (!decoded(load_part(mask + offset, rest), load_part(value + offset, rest), (std::uint64_t{1} << (8 * rest)) - 1,
                 word)) {
      return false;
    }
    __builtin_memcpy(dst + offset, &word, rest);
  }
  return true;
}

inline std::uint64_t distance(const std::byte* row, const std::byte* other, std::uint64_t row_bytes) {
  std::uint64_t num_bits = 0;
  for_each_word(row, other, other, row_bytes, [&](std::uint64_t a, std::uint64_t b, std::uint64_t, std::uint64_t) {
    num_bits += static_cast<unsigned>(__builtin_popcountll(a ^ b));
    return true;
  });
  return num_bits;
}

template <class Word>
constexpr Kernels kKernelsFor{saved_bits<Word>, encode<Word>, decode<Word>, distance};
