#include "published/kernels.hpp"
#include "published/masks.hpp"

#include <atomic>
#include <limits>
#include <random>
#include <string>

// Lloyd's iteration, with the bytes that a row takes as its distance: rows are assigned to the masks that store them in
// the fewest bytes, and each cluster's masks are made anew of its rows. It begins with rows drawn at random, and as
// distances the bits in which rows differ.

namespace stillbit::published {
namespace {

constexpr unsigned kMaxRounds = 10;

/// Masks of every cluster, and the cluster of every row.
struct Clustering {
  std::vector<std::byte> mask;
  std::vector<std::byte> value;
  std::vector<std::int32_t> clusters;
};

/// Gives every row the nearest of up to `num_clusters` rows that are drawn at random, each the likelier the farther it
/// is from those before it, by the square (k-means++; Arthur, Vassilvitskii, 2007). Returns how many were drawn: fewer
/// where there are not so many different rows. Preconditions: there are rows, and they have bytes.
std::uint64_t assign_to_drawn_rows(const RowSet& rows, std::uint64_t num_clusters, std::uint64_t seed,
                                   std::vector<std::int32_t>& clusters, unsigned num_threads) {
  const Kernels& kernel = kernels(rows.layout.word_bytes);
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> distances(rows.count, std::numeric_limits<std::uint64_t>::max());
  // The standard's distributions differ from library to library; the bias of a remainder is next to nothing.
  std::uint64_t drawn = random() % rows.count;
  for (std::uint64_t cluster = 0;;) {
    unwrap(for_each_task(rows.count, rows.layout.row_bytes, num_threads,
                         [&](std::uint64_t first, std::uint64_t count, unsigned) -> Result<void> {
                           for (std::uint64_t row = first; row < first + count; ++row) {
                             const std::uint64_t distance =
                                 kernel.distance(rows.row(row), rows.row(drawn), rows.layout.row_bytes);
                             if (distance >= distances[row]) continue;
                             distances[row] = distance;
                             clusters[row] = static_cast<std::int32_t>(cluster);
                           }
                           return {};
                         }));
    if (++cluster == num_clusters) return cluster;
    const auto weight = [&](std::uint64_t row) {
      const auto distance = static_cast<double>(distances[row]);
      return distance * distance;
    };
    double total = 0;
    for (std::uint64_t row = 0; row < rows.count; ++row) total += weight(row);
    if (total == 0) return cluster;
    double left = static_cast<double>(random() >> 11) * 0x1p-53 * total;
    // Rounding may leave a rest behind the last row: then it is the last one that can be drawn.
    for (std::uint64_t row = 0; row < rows.count && left >= 0; ++row) {
      if (distances[row] == 0) continue;
      drawn = row;
      left -= weight(row);
    }
  }
}

/// Gives every row the cluster of lowest cost; of several the one that it has, or else the first. Returns the sum of
/// what `cost(row, cluster)` says, and whether a row changed.
template <class Cost>
std::pair<std::uint64_t, bool> assign(const RowSet& rows, std::uint64_t num_clusters, std::vector<std::int32_t>& chosen,
                                      unsigned num_threads, const Cost& cost) {
  std::atomic<std::uint64_t> total{0};
  std::atomic<bool> changed{false};
  // A row takes as long as so many rows that are read once.
  const std::uint64_t row_cost = rows.layout.row_bytes * num_clusters;
  unwrap(for_each_task(rows.count, row_cost, num_threads,
                       [&](std::uint64_t first, std::uint64_t count, unsigned) -> Result<void> {
                         std::uint64_t sum = 0;
                         for (std::uint64_t row = first; row < first + count; ++row) {
                           auto best = static_cast<std::uint64_t>(chosen[row]);
                           std::uint64_t lowest = cost(row, best);
                           for (std::uint64_t cluster = 0; cluster < num_clusters; ++cluster) {
                             if (const std::uint64_t found = cost(row, cluster); found < lowest) {
                               lowest = found;
                               best = cluster;
                             }
                           }
                           if (best != static_cast<std::uint64_t>(chosen[row])) changed = true;
                           chosen[row] = static_cast<std::int32_t>(best);
                           sum += lowest;
                         }
                         total += sum;
                         return {};
                       }));
  return {total, changed};
}

/// The masks of each cluster, of the rows that it has now.
void make_masks(const RowSet& rows, std::uint64_t num_clusters, std::optional<double> threshold, Clustering& state,
                unsigned num_threads) {
  std::vector<std::uint64_t> begins(num_clusters + 1);
  for (const std::int32_t cluster : state.clusters) ++begins[static_cast<std::uint64_t>(cluster) + 1];
  for (std::uint64_t i = 0; i < num_clusters; ++i) begins[i + 1] += begins[i];
  std::vector<std::uint64_t> order(rows.count);
  std::vector<std::uint64_t> next(begins.begin(), begins.end() - 1);
  for (std::uint64_t row = 0; row < rows.count; ++row) {
    order[next[static_cast<std::uint64_t>(state.clusters[row])]++] = row;
  }
  // Many clusters are taken side by side, a few large ones one after the other with all threads.
  const bool many = num_clusters >= 4 * std::uint64_t{num_threads};
  unwrap(cpu::parallel_for(num_clusters, many ? num_threads : 1, [&](std::uint64_t cluster, unsigned) -> Result<void> {
    const std::uint64_t place = cluster * rows.layout.row_bytes;
    const RowSet own{rows.bytes, rows.layout, begins[cluster + 1] - begins[cluster], order.data() + begins[cluster]};
    STILLBIT_TRY(const auto candidates, priced_candidates(own, threshold, many ? 1 : num_threads));
    const Candidate& best = cheapest(candidates);
    std::copy(best.mask.begin(), best.mask.end(), state.mask.begin() + static_cast<std::ptrdiff_t>(place));
    std::copy(best.value.begin(), best.value.end(), state.value.begin() + static_cast<std::ptrdiff_t>(place));
    return {};
  }));
}

Result<std::vector<std::uint64_t>> clustered(const Table& table, std::uint64_t num_clusters,
                                             std::optional<double> threshold, std::uint64_t seed,
                                             std::span<std::byte> mask, std::span<std::byte> value,
                                             std::span<std::int32_t> clusters, unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_threshold(threshold));
  constexpr auto kMaxClusters = std::uint64_t{std::numeric_limits<std::int32_t>::max()};
  if (num_clusters == 0 || num_clusters > kMaxClusters) {
    return invalid("there are from 1 to " + std::to_string(kMaxClusters) + " clusters, not " +
                   std::to_string(num_clusters));
  }
  const auto masks_bytes = checked_mul(num_clusters, layout.row_bytes);
  if (!masks_bytes || mask.size() != *masks_bytes || value.size() != *masks_bytes) {
    return invalid("the masks have no room for " + std::to_string(num_clusters) + " clusters");
  }
  if (clusters.size() != table.num_rows) return invalid("there is not one cluster number for each row");

  const RowSet rows{table.bytes.data(), layout, table.num_rows};
  const std::uint64_t row_bytes = layout.row_bytes;
  const unsigned threads = cpu::resolve_threads(num_threads);
  const Kernels& kernel = kernels(layout.word_bytes);
  Clustering state{std::vector<std::byte>(*masks_bytes), std::vector<std::byte>(*masks_bytes),
                   std::vector<std::int32_t>(table.num_rows)};
  std::vector<std::uint64_t> totals;
  std::uint64_t used = 0;
  if (table.num_rows > 0 && row_bytes > 0) {
    used = assign_to_drawn_rows(rows, num_clusters, seed, state.clusters, threads);
  }
  Clustering best = state;
  std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max();
  for (unsigned round = 0; used > 0 && round < kMaxRounds; ++round) {
    make_masks(rows, used, threshold, state, threads);
    const auto [total, changed] =
        assign(rows, used, state.clusters, threads, [&](std::uint64_t row, std::uint64_t cluster) {
          return layout.stored_bytes(kernel.saved_bits(rows.row(row), state.mask.data() + cluster * row_bytes,
                                                       state.value.data() + cluster * row_bytes, row_bytes));
        });
    totals.push_back(total);
    // Rounds mostly gain, but masks are chosen among a few thresholds: one may lose.
    if (total < lowest) {
      lowest = total;
      best = state;
    }
    if (!changed) break;
  }
  std::copy(best.mask.begin(), best.mask.end(), mask.begin());
  std::copy(best.value.begin(), best.value.end(), value.begin());
  std::copy(best.clusters.begin(), best.clusters.end(), clusters.begin());
  return totals;
}

}  // namespace

std::vector<std::uint64_t> find_clusters(const Table& table, std::uint64_t num_clusters,
                                         std::optional<double> threshold, std::uint64_t seed, std::span<std::byte> mask,
                                         std::span<std::byte> value, std::span<std::int32_t> clusters,
                                         unsigned num_threads) {
  return unwrap(clustered(table, num_clusters, threshold, seed, mask, value, clusters, num_threads));
}

}  // namespace stillbit::published
