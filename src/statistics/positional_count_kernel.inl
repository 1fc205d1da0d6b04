// Counts the ones of each bit position over many rows. Included once per instruction set, inside a namespace of its own.
//
// Method: carry-save adders (Harley-Seal, as in Clausecker, Lemire, Schintke, "Faster positional population counts",
// 2025). A strip of 32 bytes of every row is a vector of 256 one-bit numbers; adding vectors bit-sliced, plane l holding
// bit l of all 256 sums, takes about 5 logic operations a row in place of 256 additions.

using Strip = std::uint64_t __attribute__((vector_size(kStripBytes), aligned(8), may_alias));

/// Planes of a bit-sliced sum: strips are summed over at most 2^kNumPlanes − 1 rows before the sums are read out.
constexpr unsigned kNumPlanes = 16;
constexpr std::uint64_t kMaxRowsPerSum = ((std::uint64_t{1} << kNumPlanes) - 1) / 8 * 8;

/// a + b + c = 2 × high + low, in every bit.
inline __attribute__((always_inline)) void add3(Strip& high, Strip& low, Strip a, Strip b, Strip c) {
  const Strip half = a ^ b;
  high = (a & b) | (half & c);
  low = half ^ c;
}

/// Adds strip `s` of 8 rows to the planes.
inline __attribute__((always_inline)) void add_rows(const std::byte* src, std::uint64_t stride, Strip* planes) {
  const auto row = [&](unsigned i) { return *reinterpret_cast<const Strip*>(src + i * stride); };
  Strip ones = planes[0], twos = planes[1], fours = planes[2];
  Strip twos_a, twos_b, fours_a, fours_b, carry;
  add3(twos_a, ones, ones, row(0), row(1));
  add3(twos_b, ones, ones, row(2), row(3));
  add3(fours_a, twos, twos, twos_a, twos_b);
  add3(twos_a, ones, ones, row(4), row(5));
  add3(twos_b, ones, ones, row(6), row(7));
  add3(fours_b, twos, twos, twos_a, twos_b);
  add3(carry, fours, fours, fours_a, fours_b);
  planes[0] = ones;
  planes[1] = twos;
  planes[2] = fours;
  for (unsigned level = 3; level < kNumPlanes; ++level) {
    const Strip sum = planes[level];
    planes[level] = sum ^ carry;
    carry &= sum;
    std::uint64_t any = 0;
    for (unsigned i = 0; i < kStripBytes / 8; ++i) any |= carry[i];
    if (any == 0) break;
  }
}

void count_positions(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones) {
  for (std::uint64_t strip = 0; strip < row_bytes; strip += kStripBytes, ones += 8 * kStripBytes) {
    for (std::uint64_t row = 0; row < num_rows;) {
      const std::uint64_t end = num_rows - row < kMaxRowsPerSum ? num_rows : row + kMaxRowsPerSum;
      Strip planes[kNumPlanes] = {};
      for (; row + 8 <= end; row += 8) add_rows(rows + row * row_bytes + strip, row_bytes, planes);
      std::byte last[8][kStripBytes] = {};
      for (unsigned i = 0; row < end; ++i, ++row) __builtin_memcpy(last[i], rows + row * row_bytes + strip, kStripBytes);
      add_rows(last[0], kStripBytes, planes);
      for (unsigned level = 0; level < kNumPlanes; ++level) {
        std::uint64_t words[kStripBytes / 8];
        __builtin_memcpy(words, &planes[level], kStripBytes);
        for (unsigned i = 0; i < 8 * kStripBytes; ++i) ones[i] += (words[i / 64] >> (i % 64) & 1) << level;
      }
    }
  }
}
