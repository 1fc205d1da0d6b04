#include "published/kernels.hpp"
#include "published/rows.hpp"

#include <cstring>
#include <optional>
#include <string>

namespace stillbit::published {
namespace {

/// How far ahead of the row that is expanded memory is requested, in rows that are gathered in no order, and how much
/// of each: the processor goes on by itself.
constexpr std::uint64_t kPrefetchRows = 16;
constexpr std::uint64_t kPrefetchBytes = 1024;
constexpr std::uint64_t kLineBytes = 64;

/// A row as it is stored.
struct Stored {
  Bytes bytes;  ///< a place that is a whole row may be larger than what is stored in it
  bool is_raw = true;
};

Fault malformed(std::uint64_t row) {
  return corrupt("row " + std::to_string(row) + " is malformed: its bits do not fit its place");
}

/// Expands rows. `stored_of(row)` is in `source`, or nothing where the row has no place in it.
template <class StoredOf>
Result<void> expand(Bytes source, const Layout& layout, std::uint64_t num_rows, const Masks& masks, const Index& index,
                    std::span<std::byte> rows, unsigned num_threads, const StoredOf& stored_of) {
  const std::uint64_t row_bytes = layout.row_bytes;
  const std::uint64_t count = index ? index->size() : num_rows;
  if (const auto wanted = checked_mul(count, row_bytes); !wanted || rows.size() != *wanted) {
    return invalid("there is room for " + std::to_string(rows.size()) + " bytes of rows");
  }
  if (row_bytes == 0) return {};
  const Kernels& kernel = kernels(layout.word_bytes);
  const unsigned threads = cpu::resolve_threads(num_threads);
  Scratch scratch(threads, row_bytes + kReadAheadBytes);
  const auto row_at = [&](std::uint64_t i) { return index ? static_cast<std::uint64_t>((*index)[i]) : i; };
  const auto expand_row = [&](std::uint64_t row, std::byte* dst, unsigned worker) {
    const std::optional<Stored> stored = stored_of(row);
    if (!stored) return false;
    const Bytes bytes = stored->bytes;
    const std::byte* src = bytes.data();
    if (stored->is_raw) {
      std::memcpy(dst, src, row_bytes);
      return true;
    }
    // Behind the last row there is nothing that may be read.
    if (static_cast<std::uint64_t>(source.data() + source.size() - src) < bytes.size() + kReadAheadBytes) {
      if (!bytes.empty()) std::memcpy(scratch.of(worker), src, bytes.size());
      std::memset(scratch.of(worker) + bytes.size(), 0, kReadAheadBytes);
      src = scratch.of(worker);
    }
    return kernel.decode(src, bytes.size(), of_row(masks.mask, masks, layout, row),
                         of_row(masks.value, masks, layout, row), row_bytes, dst);
  };
  return for_each_task(count, row_bytes, threads,
                       [&](std::uint64_t first, std::uint64_t num_task_rows, unsigned worker) -> Result<void> {
                         const std::uint64_t end = first + num_task_rows;
                         for (std::uint64_t i = first; i < end; ++i) {
                           // Not in a function of its own: GCC 12 takes one that only asks for memory to have no
                           // effect, and drops it.
                           if (index && i + kPrefetchRows < end) {
                             const Bytes ahead = stored_of(row_at(i + kPrefetchRows)).value_or(Stored{}).bytes;
                             const std::uint64_t size = std::min<std::uint64_t>(ahead.size(), kPrefetchBytes);
                             for (std::uint64_t at = 0; at < size; at += kLineBytes)
                               __builtin_prefetch(ahead.data() + at);
                             if (size > 0) __builtin_prefetch(ahead.data() + size - 1);
                           }
                           const std::uint64_t row = row_at(i);
                           if (!expand_row(row, rows.data() + i * row_bytes, worker)) return malformed(row);
                         }
                         return {};
                       });
}

Result<void> decompressed_in_place(const Table& table, const Masks& masks, std::span<const std::uint32_t> bitmask,
                                   const Index& index, std::span<std::byte> rows, unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_masks(masks, layout, table.num_rows, index));
  if (bitmask.size() != ceil_div(table.num_rows, 32)) {
    return invalid("the bitmask has " + std::to_string(bitmask.size()) + " words, not one for each 32 rows");
  }
  return expand(table.bytes, layout, table.num_rows, masks, index, rows, num_threads,
                [&](std::uint64_t row) -> std::optional<Stored> {
                  return Stored{table.bytes.subspan(row * layout.row_bytes, layout.row_bytes),
                                (bitmask[row / 32] >> row % 32 & 1) == 0};
                });
}

Result<void> decompressed_condensed(Bytes condensed, std::span<const std::int64_t> ends, const Table& shape,
                                    const Masks& masks, const Index& index, std::span<std::byte> rows,
                                    unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(shape));
  STILLBIT_CHECK(check_masks(masks, layout, shape.num_rows, index));
  if (ends.size() != shape.num_rows) {
    return invalid("there are " + std::to_string(ends.size()) + " ends of rows, not " + std::to_string(shape.num_rows));
  }
  return expand(condensed, layout, shape.num_rows, masks, index, rows, num_threads,
                [&](std::uint64_t row) -> std::optional<Stored> {
                  const std::int64_t begin = row == 0 ? 0 : ends[row - 1];
                  const std::int64_t end = ends[row];
                  if (begin < 0 || end < begin || static_cast<std::uint64_t>(end) > condensed.size()) return {};
                  const auto size = static_cast<std::uint64_t>(end - begin);
                  if (size > layout.row_bytes) return {};
                  return Stored{condensed.subspan(static_cast<std::uint64_t>(begin), size), size == layout.row_bytes};
                });
}

}  // namespace

void decompress_in_place(const Table& table, const Masks& masks, std::span<const std::uint32_t> bitmask, Index index,
                         std::span<std::byte> rows, unsigned num_threads) {
  unwrap(decompressed_in_place(table, masks, bitmask, index, rows, num_threads));
}

void decompress_condensed(std::span<const std::byte> condensed, std::span<const std::int64_t> ends, const Table& shape,
                          const Masks& masks, Index index, std::span<std::byte> rows, unsigned num_threads) {
  unwrap(decompressed_condensed(condensed, ends, shape, masks, index, rows, num_threads));
}

}  // namespace stillbit::published
