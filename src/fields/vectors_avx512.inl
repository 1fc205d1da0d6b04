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

  [[nodiscard]] std::uint64_t num_bytes() const { return static_cast<std::uint64_t>(end - begin); }

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

/// Writes rows that follow each other past the caches. Only whole lines can be written without being read: each is put
/// together from what rows have of it, two vectors or the end of a row and the beginning of the next. What the first
/// row has of its first line, and the last row of its last one, is written in the ordinary way.
class LineWriter {
 public:
  static constexpr bool kPastCaches = true;

  explicit LineWriter(std::byte* dst)
      : line_(dst - reinterpret_cast<std::uintptr_t>(dst) % 64), others_(static_cast<unsigned>(dst - line_)) {
    fill(others_);
  }

  void request_ahead() {}

  /// Writes 64 bytes behind those that were written before.
  void put(__m512i bytes) {
    const __m512i turned = _mm512_permutexvar_epi8(turn_, bytes);
    put_line(_mm512_mask_mov_epi8(turned, is_filled_, pending_));
    pending_ = turned;
  }

  /// Writes the first `count` bytes of a vector, fewer than 64.
  void put_some(__m512i bytes, std::uint64_t count) {
    const __m512i turned = _mm512_permutexvar_epi8(turn_, bytes);
    const __m512i line = _mm512_mask_mov_epi8(turned, is_filled_, pending_);
    const unsigned filled = filled_ + static_cast<unsigned>(count);
    if (filled >= 64) put_line(line);
    pending_ = filled >= 64 ? turned : line;
    fill(filled % 64);
  }

  /// Writes a row that needs no decoding.
  void copy(const std::byte* row, std::uint64_t num_bytes) {
    finish();
    std::byte* const dst = line_ + filled_;
    __builtin_memcpy(dst, row, num_bytes);
    *this = LineWriter(dst + num_bytes);
  }

  /// Writes what is left. Nothing follows.
  void finish() {
    if (filled_ > others_) _mm512_mask_storeu_epi8(line_, is_filled_ & ~below(others_), pending_);
  }

 private:
  static std::uint64_t below(unsigned count) { return (std::uint64_t{1} << count) - 1; }

  void fill(unsigned count) {
    filled_ = count;
    is_filled_ = below(count);
    turn_ = _mm512_sub_epi8(lane_numbers(), _mm512_set1_epi8(static_cast<char>(count)));
  }

  void put_line(__m512i line) {
    if (others_ > 0) {
      _mm512_mask_storeu_epi8(line_, ~below(others_), line);
      others_ = 0;
    } else {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(line_), line);
    }
    line_ += 64;
  }

  std::byte* line_;      ///< the next to be written
  unsigned others_;      ///< bytes in front of the first row that are in its first line, until that is written
  unsigned filled_;      ///< bytes of the line that are there already, first of all the others
  __mmask64 is_filled_;  ///< the same as a mask
  __m512i turn_;         ///< which byte of a vector each one of a line is
  __m512i pending_ = _mm512_setzero_si512();  ///< begins with what is there of the line
};

/// Writes rows that follow each other in the ordinary way.
class VectorWriter {
 public:
  static constexpr bool kPastCaches = false;

  explicit VectorWriter(std::byte* dst) : dst_(dst) {}

  /// Requests a line that will be written, into the first cache: a store that has to wait for it keeps those behind it
  /// waiting, too.
  void request_ahead() {
    constexpr std::uint64_t kAhead = 512;
    __builtin_prefetch(dst_ + kAhead);
  }

  void put(__m512i bytes) {
    _mm512_storeu_si512(dst_, bytes);
    dst_ += 64;
  }
  void put_some(__m512i bytes, std::uint64_t count) {
    _mm512_mask_storeu_epi8(dst_, (std::uint64_t{1} << count) - 1, bytes);
    dst_ += count;
  }
  void copy(const std::byte* row, std::uint64_t num_bytes) {
    __builtin_memcpy(dst_, row, num_bytes);
    dst_ += num_bytes;
  }
  void finish() {}

 private:
  std::byte* dst_;
};
