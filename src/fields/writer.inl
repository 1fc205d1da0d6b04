// Bit streams of fields, in plain C++, for any instruction set. Included inside a namespace.

/// Appends fields of up to 57 bits to a bit stream. Writes whole words: 8 bytes behind the stream must be writable.
struct FieldWriter {
  std::byte* dst;
  std::uint64_t pending = 0;
  unsigned num_pending = 0;  ///< 0 to 7

  void put(std::uint64_t field, unsigned num_bits) {
    pending |= field << num_pending;
    store(dst, pending);
    const unsigned total = num_pending + num_bits;
    dst += total / 8;
    pending = total / 8 == 8 ? 0 : pending >> (total / 8 * 8);
    num_pending = total % 8;
  }
};
