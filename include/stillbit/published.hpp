#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// Invariant bit packing as the artifact of its paper has it: masks, rows in place and rows back to back, in its layout
/// (src/published/spec.md). For those who have such data; to keep tensors small, `stillbit::compress` is better.
///
/// Every function throws `stillbit::Error` or `std::bad_alloc`, and checks what it is given before it writes anything.
/// `num_threads` 0 is all processors.
namespace stillbit::published {

/// Rows of words of 1, 2, 4 or 8 bytes, back to back. `Byte` is `const std::byte` where they are only read.
template <class Byte>
struct BasicTable {
  std::span<Byte> bytes;  ///< num_rows × row_words × word_bytes of them
  std::uint64_t num_rows = 0;
  std::uint64_t row_words = 0;
  unsigned word_bytes = 1;
};
using Table = BasicTable<const std::byte>;
using MutableTable = BasicTable<std::byte>;

/// A mask and a value for every word of a row; several, one after the other, where rows are clustered.
struct Masks {
  std::span<const std::byte> mask;
  std::span<const std::byte> value;
  std::span<const std::int32_t> clusters;  ///< which of them a row has; empty: all have the first
};

/// Row numbers; none stands for all rows in order.
using Index = std::optional<std::span<const std::int64_t>>;

/// What the rows take, in bytes, with the masks of a threshold.
struct PricedThreshold {
  double threshold = 0;
  std::uint64_t stored_bytes = 0;
};

/// Writes the mask and the value of every column. A `threshold` from 0 to 1 is used as it is; without one the cheapest
/// of 0.70, 0.75 … 1.00 is. Masks that shrink nothing are zeros then. Returns the thresholds in the order of pricing.
std::vector<PricedThreshold> find_masks(const Table& table, std::optional<double> threshold, std::span<std::byte> mask,
                                        std::span<std::byte> value, unsigned num_threads = 0);

/// Clusters rows by their bits (k-means), and writes masks and values for each cluster and the cluster of each row. The
/// masks of a cluster without rows are zeros. The same `seed` gives the same clusters, with any number of threads.
/// Returns what the rows took after each round; the smallest of these is what was written.
std::vector<std::uint64_t> find_clusters(const Table& table, std::uint64_t num_clusters,
                                         std::optional<double> threshold, std::uint64_t seed, std::span<std::byte> mask,
                                         std::span<std::byte> value, std::span<std::int32_t> clusters,
                                         unsigned num_threads = 0);

/// Writes the stored size of every row, or of those that the index names, in bytes; of a raw one, the row's.
void measure(const Table& table, const Masks& masks, Index index, std::span<std::int64_t> sizes,
             unsigned num_threads = 0);

/// Compresses rows, all or those that the index names, where they lie. Bit i % 32 of word i / 32 of `bitmask` becomes 1
/// if row i was compressed, and 0 otherwise.
void compress_in_place(const MutableTable& table, const Masks& masks, Index index, std::span<std::uint32_t> bitmask,
                       unsigned num_threads = 0);

/// Writes compressed rows, all or those that the index names, back to back: row i from ends[i - 1] to ends[i].
/// `ends` are the sums of what `measure` wrote.
void compress_condensed(const Table& table, const Masks& masks, Index index, std::span<const std::int64_t> ends,
                        std::span<std::byte> condensed, unsigned num_threads = 0);

/// Expands rows, all or those that the index names, of a table that was compressed in place. Throws kCorrupt, with
/// `rows` partly written, for a row that does not fit its place.
void decompress_in_place(const Table& table, const Masks& masks, std::span<const std::uint32_t> bitmask, Index index,
                         std::span<std::byte> rows, unsigned num_threads = 0);

/// Expands rows, all or those that the index names, that lie back to back. `shape` tells the number of rows and their
/// words; it has no bytes. The clusters are those of the rows as they are stored.
void decompress_condensed(std::span<const std::byte> condensed, std::span<const std::int64_t> ends, const Table& shape,
                          const Masks& masks, Index index, std::span<std::byte> rows, unsigned num_threads = 0);

}  // namespace stillbit::published
