#include "published/masks.hpp"

#include "published/kernels.hpp"

#include <stillbit/statistics.hpp>

#include <atomic>
#include <cstring>
#include <string>

namespace stillbit::published {
namespace {

/// The thresholds of the sweep, in twentieths: 0.70, 0.75 … 1.00.
constexpr unsigned kThresholds[] = {14, 15, 16, 17, 18, 19, 20};
constexpr double kThresholdUnit = 20;

/// Columns that are counted together: counters take 80 times as much memory, and rows may be as long as a table.
constexpr std::uint64_t kBlockBytes = std::uint64_t{16} << 10;

/// Counts the ones of bytes `begin` to `begin` + `num_bytes` of rows `first` to `first` + `count`.
void count_part(const RowSet& rows, std::uint64_t first, std::uint64_t count, std::uint64_t begin,
                std::uint64_t num_bytes, std::vector<std::byte>& copied, BitStatistics& statistics) {
  if (rows.order == nullptr && num_bytes == rows.layout.row_bytes) {
    return statistics.add({rows.row(first), count * num_bytes});
  }
  // Rows of zeros fill the last group: whole groups are counted faster.
  copied.assign(align_up(count, kRowsPerGroup) * num_bytes, std::byte{0});
  for (std::uint64_t i = 0; i < count; ++i) {
    std::memcpy(copied.data() + i * num_bytes, rows.row(first + i) + begin, num_bytes);
  }
  statistics.add(copied);
}

/// In how many rows each bit of bytes `begin` to `begin` + `num_bytes` is 1.
std::vector<std::uint64_t> count_ones(const RowSet& rows, std::uint64_t begin, std::uint64_t num_bytes,
                                      unsigned num_threads) {
  struct Worker {
    std::optional<BitStatistics> statistics;
    std::vector<std::byte> copied;
  };
  std::vector<Worker> workers(num_threads);
  unwrap(for_each_task(rows.count, num_bytes, num_threads,
                       [&](std::uint64_t first, std::uint64_t count, unsigned number) -> Result<void> {
                         Worker& worker = workers[number];
                         if (!worker.statistics) worker.statistics.emplace(num_bytes);
                         count_part(rows, first, count, begin, num_bytes, worker.copied, *worker.statistics);
                         return {};
                       }));
  BitStatistics whole(num_bytes);
  for (const Worker& worker : workers) {
    if (worker.statistics) whole.merge(*worker.statistics);
  }
  return whole.ones();
}

/// From how many agreeing rows on a bit is invariant: more than T × N of them, or all.
std::uint64_t fewest_agreeing(double threshold, std::uint64_t num_rows) {
  const auto more = static_cast<std::uint64_t>(threshold * static_cast<double>(num_rows)) + 1;
  return std::max<std::uint64_t>(1, std::min(more, num_rows));
}

/// Sets the bits of masks and values that `ones` counts, from byte `begin` on.
void set_bits(std::vector<Candidate>& candidates, const std::vector<std::uint64_t>& ones, std::uint64_t num_rows,
              std::uint64_t begin) {
  for (Candidate& candidate : candidates) {
    const std::uint64_t fewest = fewest_agreeing(candidate.threshold, num_rows);
    for (std::uint64_t i = 0; i < ones.size(); ++i) {
      const std::uint64_t zeros = num_rows - ones[i];
      if (std::max(ones[i], zeros) < fewest) continue;
      const auto bit = std::byte{1} << static_cast<unsigned>(i % 8);
      candidate.mask[begin + i / 8] |= bit;
      if (ones[i] > zeros) candidate.value[begin + i / 8] |= bit;
    }
  }
}

void price(const RowSet& rows, std::vector<Candidate>& candidates, unsigned num_threads) {
  const Layout& layout = rows.layout;
  const Kernels& kernel = kernels(layout.word_bytes);
  // Masks shrink as thresholds rise: one that is there again is that of the threshold before.
  std::vector<bool> repeats(candidates.size());
  for (std::size_t t = 1; t < candidates.size(); ++t) repeats[t] = candidates[t].mask == candidates[t - 1].mask;
  std::vector<std::atomic<std::uint64_t>> totals(candidates.size());
  unwrap(for_each_task(rows.count, layout.row_bytes, num_threads,
                       [&](std::uint64_t first, std::uint64_t count, unsigned) -> Result<void> {
                         std::vector<std::uint64_t> sums(candidates.size());
                         for (std::uint64_t i = first; i < first + count; ++i) {
                           const std::byte* row = rows.row(i);
                           for (std::size_t t = 0; t < candidates.size(); ++t) {
                             if (repeats[t]) continue;
                             sums[t] += layout.stored_bytes(kernel.saved_bits(
                                 row, candidates[t].mask.data(), candidates[t].value.data(), layout.row_bytes));
                           }
                         }
                         for (std::size_t t = 0; t < sums.size(); ++t) totals[t] += sums[t];
                         return {};
                       }));
  for (std::size_t t = 0; t < candidates.size(); ++t) {
    candidates[t].stored_bytes = repeats[t] ? candidates[t - 1].stored_bytes : totals[t].load();
  }
}

Result<std::vector<PricedThreshold>> masks_of(const Table& table, std::optional<double> threshold,
                                              std::span<std::byte> mask, std::span<std::byte> value,
                                              unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_threshold(threshold));
  if (mask.size() != layout.row_bytes || value.size() != layout.row_bytes) {
    return invalid("masks have " + std::to_string(layout.row_bytes) + " bytes, as a row has");
  }
  const RowSet rows{table.bytes.data(), layout, table.num_rows};
  STILLBIT_TRY(const auto candidates, priced_candidates(rows, threshold, cpu::resolve_threads(num_threads)));
  const Candidate& best = cheapest(candidates);
  // A threshold that was asked for has the masks that it has, whether or not rows shrink.
  const bool keep = threshold || best.stored_bytes < table.bytes.size();
  for (std::uint64_t i = 0; i < layout.row_bytes; ++i) {
    mask[i] = keep ? best.mask[i] : std::byte{0};
    value[i] = keep ? best.value[i] : std::byte{0};
  }
  std::vector<PricedThreshold> priced;
  priced.reserve(candidates.size());
  for (const Candidate& candidate : candidates) priced.push_back({candidate.threshold, candidate.stored_bytes});
  return priced;
}

}  // namespace

Result<void> check_threshold(std::optional<double> threshold) {
  if (!threshold || (*threshold >= 0 && *threshold <= 1)) return {};  // NaN is neither
  return invalid("a threshold is from 0 to 1, not " + std::to_string(*threshold));
}

Result<std::vector<Candidate>> priced_candidates(const RowSet& rows, std::optional<double> threshold,
                                                 unsigned num_threads) {
  const std::uint64_t row_bytes = rows.layout.row_bytes;
  std::vector<Candidate> candidates;
  const auto add = [&](double t) {
    candidates.push_back({t, std::vector<std::byte>(row_bytes), std::vector<std::byte>(row_bytes), 0});
  };
  if (threshold) {
    add(*threshold);
  } else {
    for (const unsigned t : kThresholds) add(t / kThresholdUnit);
  }
  if (rows.count == 0) return candidates;
  for (std::uint64_t begin = 0; begin < row_bytes; begin += kBlockBytes) {
    const std::uint64_t num_bytes = std::min(kBlockBytes, row_bytes - begin);
    set_bits(candidates, count_ones(rows, begin, num_bytes, num_threads), rows.count, begin);
  }
  price(rows, candidates, num_threads);
  return candidates;
}

const Candidate& cheapest(const std::vector<Candidate>& candidates) {
  return *std::min_element(candidates.begin(), candidates.end(),
                           [](const Candidate& a, const Candidate& b) { return a.stored_bytes < b.stored_bytes; });
}

std::vector<PricedThreshold> find_masks(const Table& table, std::optional<double> threshold, std::span<std::byte> mask,
                                        std::span<std::byte> value, unsigned num_threads) {
  return unwrap(masks_of(table, threshold, mask, value, num_threads));
}

}  // namespace stillbit::published
