#include "statistics/count_rows.hpp"

#include "core/checked.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace stillbit {

void count_rows(Bytes rows, BitStatistics& statistics, unsigned num_threads,
                const std::function<void(std::uint64_t offset, std::uint64_t num_bytes)>& done) {
  constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20;
  std::vector<std::optional<BitStatistics>> counts(num_threads);
  // Rows do not end where pieces do: those that start in one are counted with it, in whole laps.
  const std::uint64_t lap = statistics.lap_bytes();
  unwrap(cpu::parallel_for(ceil_div(rows.size(), kPieceBytes), num_threads,
                           [&](std::uint64_t piece, unsigned worker) -> Result<void> {
                             if (!counts[worker]) counts[worker].emplace(statistics.row_bytes());
                             const std::uint64_t begin = piece * kPieceBytes;
                             const std::uint64_t end = std::min<std::uint64_t>(begin + kPieceBytes, rows.size());
                             const std::uint64_t first = ceil_div(begin, lap) * lap;
                             const std::uint64_t last = std::min<std::uint64_t>(ceil_div(end, lap) * lap, rows.size());
                             if (first < last) counts[worker]->add(rows.subspan(first, last - first));
                             if (done) done(begin, end - begin);
                             return {};
                           }));
  for (const auto& count : counts) {
    if (count) statistics.merge(*count);
  }
}

}  // namespace stillbit
