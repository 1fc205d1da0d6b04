// Where rows that follow each other are written. Included inside a namespace.

/// Rows that kernels write by themselves, each at `next`, and say how far they got. Past the caches where that is
/// wanted and they can.
template <bool kWantsPastCaches>
struct RowCursor {
  static constexpr bool kPastCaches = kWantsPastCaches;
  std::byte* next;

  explicit RowCursor(std::byte* dst) : next(dst) {}

  void copy(const std::byte* row, std::uint64_t num_bytes) {
    __builtin_memcpy(next, row, num_bytes);
    next += num_bytes;
  }
  void finish() {}
};
