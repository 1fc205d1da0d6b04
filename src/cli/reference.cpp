#include "cli/reference.hpp"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

namespace stillbit::cli {
namespace {

/// Less is not worth a thread; the library's own measure.
constexpr std::uint64_t kThreadBytes = std::uint64_t{256} << 10;

constexpr std::uint64_t kAheadRows = 16;
constexpr std::uint64_t kLineBytes = 64;
constexpr std::uint64_t kMaxAheadBytes = 64 * kLineBytes;

/// Runs body(first, end) on parts of 0 … count − 1, things of `unit_bytes` bytes. `body` does not throw.
template <class Body>
void in_parts(std::uint64_t count, std::uint64_t unit_bytes, unsigned num_threads, const Body& body) {
  const std::uint64_t worth = count * unit_bytes / kThreadBytes;
  const std::uint64_t num_parts = std::clamp<std::uint64_t>(worth, 1, num_threads);
  const auto part = [&](std::uint64_t i) {
    body(count / num_parts * i, i + 1 == num_parts ? count : count / num_parts * (i + 1));
  };
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 1; i < num_parts; ++i) threads.emplace_back(part, i);
  part(0);
}

}  // namespace

void parallel_copy(std::span<const std::byte> from, std::span<std::byte> to, unsigned num_threads) {
  if (from.empty()) return;
  in_parts(from.size(), 1, num_threads, [&](std::uint64_t begin, std::uint64_t end) {
    std::memcpy(to.data() + begin, from.data() + begin, end - begin);
  });
}

void prefetched_gather(std::span<const std::byte> table, std::uint64_t row_bytes, std::span<const std::int64_t> index,
                       std::span<std::byte> to, unsigned num_threads) {
  const auto row = [&](std::uint64_t i) { return table.data() + static_cast<std::uint64_t>(index[i]) * row_bytes; };
  const std::uint64_t ahead_bytes = std::min(row_bytes, kMaxAheadBytes);
  in_parts(index.size(), row_bytes, num_threads, [&](std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) {
      if (i + kAheadRows < end) {
        const std::byte* const next = row(i + kAheadRows);
        for (std::uint64_t at = 0; at < ahead_bytes; at += kLineBytes) __builtin_prefetch(next + at, 0, 2);
      }
      std::memcpy(to.data() + i * row_bytes, row(i), row_bytes);
    }
  });
}

}  // namespace stillbit::cli
