// How rows are loaded and stored in whole vectors, by AVX-512. Included inside a namespace.

/// 0, 1, 2 … 63, a byte each.
inline __m512i lane_numbers() {
  return _mm512_set_epi64(0x3F3E3D3C3B3A3938, 0x3736353433323130, 0x2F2E2D2C2B2A2928, 0x2726252423222120,
                          0x1F1E1D1C1B1A1918, 0x1716151413121110, 0x0F0E0D0C0B0A0908, 0x0706050403020100);
}

/// The bytes of `vector` from byte `first` on, below 64. What is behind its last one has no meaning.
inline __m512i bytes_from(__m512i vector, std::uint64_t first) {
  return _mm512_permutexvar_epi8(_mm512_add_epi8(lane_numbers(), _mm512_set1_epi8(static_cast<char>(first))), vector);
}

/// Loads vectors from a stored row, of which some reach beyond its end. What lies there has no meaning, and is not
/// touched where the row has 64 bytes: rows that are gathered are requested ahead, the lines behind them are not, and
/// to wait for one line takes longer than to expand a short row.
struct StoredBytes {
  const std::byte* begin;
  const std::byte* end;

  /// The 64 bytes at `src`. A caller in a loop, where all but the last ones lie within the row.
  [[nodiscard]] __m512i load(const std::byte* src) const {
    return end - src >= 64 ? _mm512_loadu_si512(src) : load_last(src);
  }

  /// Where 64 bytes can be loaded that begin with the one at `src`, or up to 63 bytes before it: what is near the end.
  [[nodiscard]] const std::byte* last_from(const std::byte* src) const {
    const std::byte* const last = end - begin >= 64 ? end - 64 : begin;
    return src < last ? src : last;
  }

  /// As `load` without a branch, for what begins near the end.
  [[nodiscard]] __m512i load_last(const std::byte* src) const {
    const std::byte* const from = last_from(src);
    return bytes_from(_mm512_loadu_si512(from), static_cast<std::uint64_t>(src - from));
  }
};

/// Writes the vectors of a row past the caches. Only whole lines can be written without being read: where the row does
/// not begin with a line, each line is put together from two vectors. What the row has of its first and its last line
/// is written in the ordinary way.
class LineWriter {
 public:
  explicit LineWriter(std::byte* row)
      : begin_(reinterpret_cast<std::uintptr_t>(row) % 64),
        line_(row - begin_),
        from_(_mm512_add_epi8(lane_numbers(), _mm512_set1_epi8(static_cast<char>(64 - begin_)))) {}

  /// Writes the vector at `offset`, a multiple of 64. Vectors come in order, from 0 on.
  void put(std::uint64_t offset, __m512i bytes) {
    const __m512i line = _mm512_permutex2var_epi8(last_, from_, bytes);
    last_ = bytes;
    if (offset < begin_) {
      _mm512_mask_storeu_epi8(line_, ~std::uint64_t{0} << begin_, line);
    } else {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(line_ + offset), line);
    }
  }

  /// Writes what is left when all vectors before `offset` were put.
  void finish(std::uint64_t offset) {
    if (offset == 0 || begin_ == 0) return;
    const __m512i line = _mm512_permutex2var_epi8(last_, from_, last_);
    _mm512_mask_storeu_epi8(line_ + offset, (std::uint64_t{1} << begin_) - 1, line);
  }

 private:
  std::uint64_t begin_;  ///< of the row, in its first line
  std::byte* line_;
  __m512i from_;
  __m512i last_ = _mm512_setzero_si512();
};

/// Writes the vectors of a row in the ordinary way.
class VectorWriter {
 public:
  explicit VectorWriter(std::byte* row) : row_(row) {}

  void put(std::uint64_t offset, __m512i bytes) { _mm512_storeu_si512(row_ + offset, bytes); }
  void finish(std::uint64_t) {}

 private:
  std::byte* row_;
};
