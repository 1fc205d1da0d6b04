// What is requested of rows from memory before they are decoded, where they are written past the caches. Included
// inside a namespace.

constexpr std::uint64_t kLineBytes = 64;

/// How far ahead the memory of rows that follow each other is requested, in bytes: the processor, which would do so by
/// itself, is led astray by a row's codes, which are read before its fields. Into the second cache, and once more into
/// the first one: what comes from the second cache has to wait behind requests and stores past the caches. Without the
/// second request rows of 2 KB take 2 to 3 % longer, and of 16 KB 5 to 8 % (Intel Xeon with AMX, 2026-11-22).
constexpr std::uint64_t kRequestedAhead = 6144;
constexpr std::uint64_t kRequestedAgainAhead = 3072;

inline void request_ahead_of(const std::byte* src, std::uint64_t num_bytes, std::uint64_t ahead = kRequestedAhead) {
  constexpr int kToRead = 0;
  constexpr int kToSecondCache = 2;
  for (std::uint64_t at = 0; at < num_bytes; at += kLineBytes) {
    __builtin_prefetch(src + ahead + at, kToRead, kToSecondCache);
    __builtin_prefetch(src + kRequestedAgainAhead + at);
  }
}

/// Rows of so many bytes and more are requested in parts while they are put together, with each kPartBytes of words
/// what was stored of as many. They take 2 to 13 % less time so, the longer the more, and shorter ones more than when
/// they are requested at once, before their escapes are found (Intel Xeon with AMX, 2026-11-22).
constexpr std::uint64_t kLeastInParts = 4096;
constexpr std::uint64_t kPartBytes = 2048;

/// Requests what lies ahead of the stored bytes of `count` of a row's `num_columns` columns, from `first` on: a whole
/// row and more, since the end of the next row is read before its beginning.
inline void request_part_ahead_of(const std::byte* row, std::uint64_t num_bytes, std::uint64_t first,
                                  std::uint64_t count, std::uint64_t num_columns) {
  constexpr std::uint64_t kBehindNextRow = 2048;
  const std::uint64_t ahead = num_bytes + kBehindNextRow;
  request_ahead_of(row + num_bytes * first / num_columns, num_bytes * count / num_columns + kLineBytes,
                   ahead > kRequestedAhead ? ahead : kRequestedAhead);
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
