#include "bench/reference.hpp"

#include "core/checked.hpp"
#include "cpu/copy.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

namespace stillbit::bench {
namespace {

constexpr std::uint64_t kLineBytes = 64;

/// Output of one task of a gather: as in the library, so that both start and end as often (rows of less than 256 bytes
/// excepted, whose tasks are always the smaller ones there).
std::uint64_t task_bytes(std::uint64_t num_bytes) {
  return num_bytes < cpu::kPastCachesBytes ? std::uint64_t{256} << 10 : std::uint64_t{2} << 20;
}

void gather_part(const Data& data, std::span<const std::int64_t> index, unsigned ahead, std::byte* out) {
  const std::uint64_t row_bytes = data.which.row_bytes();
  const auto row = [&](std::size_t i) { return data.raw.data() + static_cast<std::uint64_t>(index[i]) * row_bytes; };
  for (std::size_t i = 0; i < index.size(); ++i) {
    if (ahead > 0 && i + ahead < index.size()) {
      const std::byte* const next = row(i + ahead);
      for (std::uint64_t at = 0; at < row_bytes; at += kLineBytes) __builtin_prefetch(next + at, 0, 2);
    }
    std::memcpy(out + i * row_bytes, row(i), row_bytes);
  }
}

}  // namespace

void copy(Data& data, unsigned num_threads) {
  const std::uint64_t part_bytes = ceil_div(data.raw.size(), num_threads);
  unwrap(cpu::parallel_for(num_threads, num_threads, [&](std::uint64_t part, unsigned) -> Result<void> {
    const std::uint64_t begin = part * part_bytes;
    std::memcpy(data.out.data() + begin, data.raw.data() + begin, std::min(part_bytes, data.raw.size() - begin));
    return {};
  }));
}

void raw_gather(Data& data, std::span<const std::int64_t> index, unsigned ahead, unsigned num_threads) {
  const std::uint64_t row_bytes = data.which.row_bytes();
  const std::uint64_t per_task = std::max<std::uint64_t>(1, task_bytes(index.size() * row_bytes) / row_bytes);
  unwrap(cpu::parallel_for(ceil_div(index.size(), per_task), num_threads,
                           [&](std::uint64_t task, unsigned) -> Result<void> {
                             const std::uint64_t first = task * per_task;
                             const std::uint64_t count = std::min(per_task, index.size() - first);
                             gather_part(data, index.subspan(first, count), ahead, data.out.data() + first * row_bytes);
                             return {};
                           }));
}

unsigned best_ahead(Data& data) {
  constexpr unsigned kTried[] = {4, 8, 16, 32, 64};
  constexpr int kRounds = 3;
  using Clock = std::chrono::steady_clock;
  Clock::duration best_time = Clock::duration::max();
  unsigned best = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (const unsigned ahead : kTried) {
      const auto index = data.next_index();
      const auto start = Clock::now();
      raw_gather(data, index, ahead, 1);
      const auto time = Clock::now() - start;
      if (time < best_time) best = ahead;
      best_time = std::min(best_time, time);
    }
  }
  return best;
}

}  // namespace stillbit::bench
