// What is requested of rows from memory before they are decoded, where they are written past the caches. Included
// inside a namespace.

constexpr std::uint64_t kLineBytes = 64;

/// How far ahead the memory of rows that follow each other is requested, in bytes: the processor, which would do so by
/// itself, is led astray by a row's codes, which are read before its fields. Into the second cache: into the first one
/// rows take a tenth longer, and half as far ahead as long (Intel Xeon with AMX, 2026-11-22).
constexpr std::uint64_t kRequestedAhead = 4096;

inline void request_ahead_of(const std::byte* row, std::uint64_t num_bytes) {
  constexpr int kToRead = 0;
  constexpr int kToSecondCache = 2;
  for (std::uint64_t at = 0; at < num_bytes; at += kLineBytes)
    __builtin_prefetch(row + kRequestedAhead + at, kToRead, kToSecondCache);
}

/// Rows of these sizes, of words of four bytes, are requested in thirds: before their escapes are found, and before
/// each half of them is put together. They take 4 % less time so, rows of 8 KB more, and words of two bytes up to a
/// tenth more (Intel Xeon with AMX, 2026-11-22).
constexpr std::uint64_t kLeastInThirds = 3072;
constexpr std::uint64_t kMostInThirds = 5120;

inline bool are_requested_in_thirds(const RowLayout& layout) {
  return layout.row_bytes / layout.num_columns == 4 && layout.row_bytes >= kLeastInThirds &&
         layout.row_bytes <= kMostInThirds;
}

inline void request_third_ahead_of(const std::byte* row, std::uint64_t num_bytes, unsigned third) {
  const std::uint64_t third_bytes = (num_bytes / 3 + kLineBytes - 1) / kLineBytes * kLineBytes;
  request_ahead_of(row + third * third_bytes, third_bytes);
}

/// Rows of these sizes that are gathered and written past the caches, of words of two bytes, are requested once more,
/// into the first cache: they have arrived in the second one by then. They take 5 to 10 % less time so. Of 512 bytes
/// they took from a tenth less to a tenth more, shorter ones up to 5 % more, longer ones as much as before, and words
/// of four bytes a tenth more (Zen 4, 2026-11-22).
constexpr std::uint64_t kLeastRequestedBytes = 768;
constexpr std::uint64_t kMostRequestedBytes = 1023;

inline void request_again(const StoredRow* rows, std::uint64_t num_rows) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    for (std::uint64_t at = 0; at < rows[i].num_bytes; at += kLineBytes) __builtin_prefetch(rows[i].data + at);
    __builtin_prefetch(rows[i].data + rows[i].num_bytes - 1);
  }
}
