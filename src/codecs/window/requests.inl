// What is requested of rows from memory before they are decoded, where they are written past the caches. Included
// inside a namespace.

constexpr std::uint64_t kLineBytes = 64;

/// Rows of these sizes that are gathered and written past the caches are requested once more, into the first cache:
/// they have arrived in the second one by then. What lies between the two lines at either end the processor finds by
/// itself. For shorter rows, longer ones and ordinary stores it costs as much as it saves (AMD Zen 4, 2026-11-21).
constexpr std::uint64_t kLeastRequestedBytes = 512;
constexpr std::uint64_t kMostRequestedBytes = 767;

inline bool are_requested(const RowLayout& layout, std::uint64_t num_rows) {
  return num_rows <= RowCodec::kGatheredRows && layout.row_bytes >= kLeastRequestedBytes &&
         layout.row_bytes <= kMostRequestedBytes;
}

inline void request_ends(const StoredRow* rows, std::uint64_t num_rows) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    if (rows[i].num_bytes < 2 * kLineBytes) continue;
    const std::byte* const end = rows[i].data + rows[i].num_bytes;
    __builtin_prefetch(rows[i].data);
    __builtin_prefetch(rows[i].data + kLineBytes);
    __builtin_prefetch(end - kLineBytes);
    __builtin_prefetch(end - 1);
  }
}

/// How far ahead the memory of rows that follow each other is requested, in bytes. The processor does so by itself, but
/// not far enough: without it rows take half as long again. Into the second cache, and once more into the first one:
/// what comes from the second cache has to wait behind requests and stores past the caches. Without the second request,
/// or 4 KB ahead and not 6, rows of 2 KB take 1 % longer and of 4 to 16 KB 3 to 5 %; with one into the first cache
/// alone 4 % (Intel Xeon with AMX, 2026-11-22).
constexpr std::uint64_t kRequestedAhead = 6144;
constexpr std::uint64_t kRequestedAgainAhead = 512;

/// Bytes of a row that are expanded between two requests. Where a row of 4 KB and more is requested at once, it takes a
/// tenth longer; so it does where a line is requested with each vector.
constexpr std::uint64_t kPartBytes = 1024;

/// Requests what lies ahead of these bytes.
inline void request_ahead_of(const std::byte* src, std::uint64_t num_bytes) {
  constexpr int kToRead = 0;
  constexpr int kToSecondCache = 2;
  for (std::uint64_t at = 0; at < num_bytes; at += kLineBytes) {
    __builtin_prefetch(src + kRequestedAhead + at, kToRead, kToSecondCache);
    __builtin_prefetch(src + kRequestedAgainAhead + at);
  }
}
