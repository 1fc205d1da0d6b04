#include "published/kernels.hpp"
#include "published/rows.hpp"

#include <cstring>
#include <string>

namespace stillbit::published {
namespace {

/// Which rows an index names, as bits: a row that it names twice is compressed once.
class Selection {
 public:
  Selection(const Index& index, std::uint64_t num_rows) : all_(!index) {
    if (all_) return;
    words_.resize(ceil_div(num_rows, 32));
    for (const std::int64_t row : *index) {
      words_[static_cast<std::uint64_t>(row) / 32] |= 1U << (static_cast<std::uint64_t>(row) % 32);
    }
  }

  /// The bits of rows 32 × i to 32 × i + 31.
  [[nodiscard]] std::uint32_t word(std::uint64_t i) const { return all_ ? ~std::uint32_t{0} : words_[i]; }

 private:
  bool all_;
  std::vector<std::uint32_t> words_;
};

Result<void> measured(const Table& table, const Masks& masks, const Index& index, std::span<std::int64_t> sizes,
                      unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_masks(masks, layout, table.num_rows, index));
  const std::uint64_t count = index ? index->size() : table.num_rows;
  if (sizes.size() != count) return invalid("there is room for " + std::to_string(sizes.size()) + " sizes");
  const Kernels& kernel = kernels(layout.word_bytes);
  return for_each_task(count, layout.row_bytes, cpu::resolve_threads(num_threads),
                       [&](std::uint64_t first, std::uint64_t num_rows, unsigned) -> Result<void> {
                         for (std::uint64_t i = first; i < first + num_rows; ++i) {
                           const std::uint64_t row = index ? static_cast<std::uint64_t>((*index)[i]) : i;
                           const std::uint64_t saved = kernel.saved_bits(
                               table.bytes.data() + row * layout.row_bytes, of_row(masks.mask, masks, layout, row),
                               of_row(masks.value, masks, layout, row), layout.row_bytes);
                           sizes[i] = static_cast<std::int64_t>(layout.stored_bytes(saved));
                         }
                         return {};
                       });
}

Result<void> compressed_in_place(const MutableTable& table, const Masks& masks, const Index& index,
                                 std::span<std::uint32_t> bitmask, unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_masks(masks, layout, table.num_rows, index));
  if (bitmask.size() != ceil_div(table.num_rows, 32)) {
    return invalid("the bitmask has " + std::to_string(bitmask.size()) + " words, not one for each 32 rows");
  }
  const Selection selection(index, table.num_rows);
  const std::uint64_t row_bytes = layout.row_bytes;
  const Kernels& kernel = kernels(layout.word_bytes);
  const unsigned threads = cpu::resolve_threads(num_threads);
  Scratch scratch(threads, layout.scratch_bytes());
  return for_each_task(
      table.num_rows, row_bytes, threads,
      [&](std::uint64_t first, std::uint64_t num_rows, unsigned worker) -> Result<void> {
        std::byte* const encoded = scratch.of(worker);
        for (std::uint64_t group = first / 32; group < ceil_div(first + num_rows, 32); ++group) {
          const std::uint32_t selected = selection.word(group);
          std::uint32_t bits = 0;
          for (std::uint64_t row = 32 * group; row < std::min(32 * group + 32, first + num_rows); ++row) {
            if ((selected >> row % 32 & 1) == 0) continue;
            std::byte* const place = table.bytes.data() + row * row_bytes;
            const std::uint64_t size = kernel.encode(place, of_row(masks.mask, masks, layout, row),
                                                     of_row(masks.value, masks, layout, row), row_bytes, encoded);
            if (size >= row_bytes) continue;
            std::memcpy(place, encoded, size);
            std::memset(place + size, 0, row_bytes - size);
            bits |= 1U << row % 32;
          }
          bitmask[group] = bits;
        }
        return {};
      });
}

/// Whether rows that end there fill what there is, and none is longer than a raw one.
Result<void> check_ends(std::span<const std::int64_t> ends, std::uint64_t count, std::uint64_t row_bytes,
                        std::uint64_t condensed_bytes) {
  if (ends.size() != count) return invalid("there are " + std::to_string(ends.size()) + " ends of rows");
  std::int64_t begin = 0;
  for (std::uint64_t i = 0; i < count; begin = ends[i++]) {
    if (ends[i] < begin || static_cast<std::uint64_t>(ends[i] - begin) > row_bytes) {
      return invalid("row " + std::to_string(i) + " has an end that is not the sum of sizes");
    }
  }
  if (static_cast<std::uint64_t>(begin) != condensed_bytes) {
    return invalid("rows end at " + std::to_string(begin) + ", with room for " + std::to_string(condensed_bytes) +
                   " bytes");
  }
  return {};
}

Result<void> compressed_condensed(const Table& table, const Masks& masks, const Index& index,
                                  std::span<const std::int64_t> ends, std::span<std::byte> condensed,
                                  unsigned num_threads) {
  STILLBIT_TRY(const Layout layout, checked_layout(table));
  STILLBIT_CHECK(check_bytes(table, layout));
  STILLBIT_CHECK(check_masks(masks, layout, table.num_rows, index));
  const std::uint64_t row_bytes = layout.row_bytes;
  const std::uint64_t count = index ? index->size() : table.num_rows;
  STILLBIT_CHECK(check_ends(ends, count, row_bytes, condensed.size()));
  const Kernels& kernel = kernels(layout.word_bytes);
  const unsigned threads = cpu::resolve_threads(num_threads);
  Scratch scratch(threads, layout.scratch_bytes());
  return for_each_task(count, row_bytes, threads,
                       [&](std::uint64_t first, std::uint64_t num_rows, unsigned worker) -> Result<void> {
                         std::byte* const encoded = scratch.of(worker);
                         for (std::uint64_t i = first; i < first + num_rows; ++i) {
                           const std::uint64_t row = index ? static_cast<std::uint64_t>((*index)[i]) : i;
                           const std::byte* src = table.bytes.data() + row * row_bytes;
                           const auto begin = static_cast<std::uint64_t>(i == 0 ? 0 : ends[i - 1]);
                           const std::uint64_t size = static_cast<std::uint64_t>(ends[i]) - begin;
                           std::uint64_t found = row_bytes;
                           if (size < row_bytes) {
                             found = kernel.encode(src, of_row(masks.mask, masks, layout, row),
                                                   of_row(masks.value, masks, layout, row), row_bytes, encoded);
                             src = encoded;
                           }
                           if (found != size)
                             return invalid("row " + std::to_string(i) + " has an end that is not the sum of sizes");
                           if (size > 0) std::memcpy(condensed.data() + begin, src, size);
                         }
                         return {};
                       });
}

}  // namespace

void measure(const Table& table, const Masks& masks, Index index, std::span<std::int64_t> sizes, unsigned num_threads) {
  unwrap(measured(table, masks, index, sizes, num_threads));
}

void compress_in_place(const MutableTable& table, const Masks& masks, Index index, std::span<std::uint32_t> bitmask,
                       unsigned num_threads) {
  unwrap(compressed_in_place(table, masks, index, bitmask, num_threads));
}

void compress_condensed(const Table& table, const Masks& masks, Index index, std::span<const std::int64_t> ends,
                        std::span<std::byte> condensed, unsigned num_threads) {
  unwrap(compressed_condensed(table, masks, index, ends, condensed, num_threads));
}

}  // namespace stillbit::published
