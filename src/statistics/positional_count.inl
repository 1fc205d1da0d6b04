// Counts the ones of each bit position over many rows. Included once per instruction set, inside a namespace of its
// own.
//
// Method: carry-save adders (Harley-Seal, as in Clausecker, Lemire, Schintke, "Faster positional population counts",
// 2025). Every bit of a row is a one-bit number; adding rows bit-sliced takes about 5 logic operations a row for all
// the bits of a vector, in place of one addition for each bit.

// The alignment is set apart from the size: where both stand in one attribute clang does not heed it.
using Vector __attribute__((aligned(1), may_alias)) = std::uint64_t __attribute__((vector_size(kPlaneBytes)));

/// a + b + c = 2 × high + low, in every bit.
inline __attribute__((always_inline)) void add3(Vector& high, Vector& low, Vector a, Vector b, Vector c) {
  const Vector half = a ^ b;
  high = (a & b) | (half & c);
  low = half ^ c;
}

/// Adds one vector of 8 rows to its planes.
inline __attribute__((always_inline)) void add_vector(const std::byte* src, std::uint64_t stride, Vector* planes) {
  const auto row = [&](unsigned i) { return *reinterpret_cast<const Vector*>(src + i * stride); };
  Vector ones = planes[0], twos = planes[1], fours = planes[2];
  Vector twos_a, twos_b, fours_a, fours_b, carry;
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
    Vector& plane = planes[level];
    const Vector sum = plane;
    plane = sum ^ carry;
    carry &= sum;
    if ((carry[0] | carry[1] | carry[2] | carry[3]) == 0) break;
  }
}

void add_to_planes(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::byte* planes) {
  auto* const vectors = reinterpret_cast<Vector*>(planes);
  const std::uint64_t num_whole = row_bytes / sizeof(Vector);
  const std::uint64_t num_vectors = (row_bytes + sizeof(Vector) - 1) / sizeof(Vector);

  // Copies one vector of up to 8 rows, filled up with zeros, and counts it: where rows or their bytes are fewer.
  const auto add_partly = [&](std::uint64_t i, std::uint64_t count) {
    std::byte copied[8][sizeof(Vector)] = {};
    const std::uint64_t offset = i * sizeof(Vector);
    const std::uint64_t width = row_bytes - offset < sizeof(Vector) ? row_bytes - offset : sizeof(Vector);
    for (std::uint64_t row = 0; row < count; ++row) {
      __builtin_memcpy(copied[row], rows + row * row_bytes + offset, width);
    }
    add_vector(copied[0], sizeof(Vector), vectors + i * kNumPlanes);
  };

  for (; num_rows >= 8; num_rows -= 8, rows += 8 * row_bytes) {
    for (std::uint64_t i = 0; i < num_whole; ++i) {
      add_vector(rows + i * sizeof(Vector), row_bytes, vectors + i * kNumPlanes);
    }
    if (num_whole < num_vectors) add_partly(num_whole, 8);
  }
  for (std::uint64_t i = 0; num_rows > 0 && i < num_vectors; ++i) add_partly(i, num_rows);
}
