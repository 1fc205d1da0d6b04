#include "api/decoder.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>

namespace stillbit {
namespace {

/// Tiles that are found before the codec expands them together.
constexpr std::uint64_t kBatchTiles = 64;

/// How far ahead of the row that is expanded memory is requested, in rows that are gathered in no order.
constexpr std::uint64_t kPrefetchRows = 16;

/// Output bytes of one task; less than two tasks are not worth a thread.
constexpr std::uint64_t kTaskBytes = std::uint64_t{256} << 10;

Fault corrupt_row(const Decoder& decoder, std::uint64_t tile) {
  return corrupt("row " + std::to_string(tile * decoder.header.tile_rows) + " is malformed");
}

/// Expands tiles tile_of(0) … tile_of(count − 1). Tiles are handed to the codec in batches; one that had to be put together
/// in scratch memory ends its batch, since the next such one takes its place.
template <class TileOf>
Result<void> expand_tiles(const Decoder& decoder, std::uint64_t count, std::byte* dst, const TileOf& tile_of, bool is_random) {
  using Place = packing::RowReader::Place;
  const std::uint64_t tile_bytes = decoder.header.tiles().row_bytes;
  packing::RowReader::Scratch scratch;
  StoredRow batch[kBatchTiles];
  std::uint64_t batch_first = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (is_random && i + kPrefetchRows < count) decoder.reader.prefetch(tile_of(i + kPrefetchRows));
    const std::uint64_t in_batch = i - batch_first;
    const Place place = decoder.reader.locate(tile_of(i), scratch, batch[in_batch]);
    if (place == Place::kCorrupt) return corrupt_row(decoder, tile_of(i));
    if (place == Place::kInSection && in_batch + 1 < kBatchTiles && i + 1 < count) continue;
    const std::uint64_t expanded = decoder.codec.decode(batch, in_batch + 1, dst + batch_first * tile_bytes);
    if (expanded != in_batch + 1) return corrupt_row(decoder, tile_of(batch_first + expanded));
    batch_first = i + 1;
  }
  return {};
}

/// Expands single rows of tiles: the whole tile, once for neighbours in the index that share it.
template <class RowOf>
Result<void> gather_from_tiles(const Decoder& decoder, std::uint64_t count, std::byte* dst, const RowOf& row_of) {
  const std::uint64_t row_bytes = decoder.header.geometry.row_bytes;
  const std::uint64_t tile_rows = decoder.header.tile_rows;
  std::vector<std::byte> tile(tile_rows * row_bytes);
  std::uint64_t expanded = ~std::uint64_t{0};
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i + kPrefetchRows < count) decoder.reader.prefetch(row_of(i + kPrefetchRows) / tile_rows);
    if (const std::uint64_t wanted = row_of(i) / tile_rows; wanted != expanded) {
      STILLBIT_CHECK(expand_tiles(decoder, 1, tile.data(), [&](std::uint64_t) { return wanted; }, false));
      expanded = wanted;
    }
    std::memcpy(dst + i * row_bytes, tile.data() + row_of(i) % tile_rows * row_bytes, row_bytes);
  }
  return {};
}

/// Cuts `count` rows into tasks of a multiple of `granularity` rows and runs `body(first, count)` for each.
template <class Body>
Result<void> for_each_task(std::uint64_t count, std::uint64_t row_bytes, std::uint64_t granularity, unsigned num_threads,
                           const Body& body) {
  const std::uint64_t rows_per_task = align_up(std::max<std::uint64_t>(1, kTaskBytes / row_bytes), granularity);
  const std::uint64_t num_tasks = ceil_div(count, rows_per_task);
  return cpu::parallel_for(num_tasks, cpu::resolve_threads(num_threads), [&](std::uint64_t task, unsigned) {
    const std::uint64_t first = task * rows_per_task;
    return body(first, std::min(rows_per_task, count - first));
  });
}

}  // namespace

template <class Index>
Result<void> check_indices(std::span<const Index> index, std::uint64_t num_rows) {
  for (std::size_t i = 0; i < index.size(); ++i) {
    // A negative index becomes a number above any row's.
    if (static_cast<std::uint64_t>(std::int64_t{index[i]}) < num_rows) continue;
    return Fault{ErrorCode::kOutOfRange, "index " + std::to_string(index[i]) + " at position " + std::to_string(i) +
                                             " is out of range: the tensor has " + std::to_string(num_rows) + " rows"};
  }
  return {};
}

template Result<void> check_indices(std::span<const std::int32_t>, std::uint64_t);
template Result<void> check_indices(std::span<const std::int64_t>, std::uint64_t);

Result<void> Decoder::expand(std::uint64_t first, std::uint64_t count, std::byte* dst) const {
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  const std::uint64_t tile_rows = header.tile_rows;
  if (row_bytes == 0) return {};
  // Rows at the ends may be parts of tiles.
  std::vector<std::byte> tile;
  const auto expand_part = [&](std::uint64_t num_rows) -> Result<void> {
    tile.resize(tile_rows * row_bytes);
    STILLBIT_CHECK(expand_tiles(*this, 1, tile.data(), [&](std::uint64_t) { return first / tile_rows; }, false));
    std::memcpy(dst, tile.data() + first % tile_rows * row_bytes, num_rows * row_bytes);
    first += num_rows;
    count -= num_rows;
    dst += num_rows * row_bytes;
    return {};
  };
  if (first % tile_rows != 0) STILLBIT_CHECK(expand_part(std::min(count, tile_rows - first % tile_rows)));
  const std::uint64_t num_tiles = count / tile_rows;
  STILLBIT_CHECK(expand_tiles(*this, num_tiles, dst, [&](std::uint64_t i) { return first / tile_rows + i; }, false));
  first += num_tiles * tile_rows;
  count -= num_tiles * tile_rows;
  dst += num_tiles * tile_rows * row_bytes;
  return count > 0 ? expand_part(count) : Result<void>();
}

Result<void> Decoder::expand(std::uint64_t first, std::uint64_t count, std::byte* dst, unsigned num_threads) const {
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  if (row_bytes == 0) return {};
  if (const Bytes raw = reader.raw_rows(); !raw.empty()) {
    // Byte by byte, so that long rows are shared between threads, too.
    return for_each_task(count * row_bytes, 1, 1, num_threads, [&](std::uint64_t begin, std::uint64_t num_bytes) -> Result<void> {
      std::memcpy(dst + begin, raw.data() + first * row_bytes + begin, num_bytes);
      return {};
    });
  }
  return for_each_task(count, row_bytes, header.tile_rows, num_threads, [&](std::uint64_t begin, std::uint64_t num_rows) {
    return expand(first + begin, num_rows, dst + begin * row_bytes);
  });
}

template <class Index>
Result<void> Decoder::gather(std::span<const Index> index, std::byte* dst, unsigned num_threads) const {
  const RowGeometry& geometry = header.geometry;
  STILLBIT_CHECK(check_indices(index, geometry.num_rows));
  if (geometry.row_bytes == 0) return {};
  return for_each_task(index.size(), geometry.row_bytes, 1, num_threads, [&](std::uint64_t first, std::uint64_t count) {
    const auto row_of = [&](std::uint64_t i) { return static_cast<std::uint64_t>(index[first + i]); };
    if (header.tile_rows == 1) return expand_tiles(*this, count, dst + first * geometry.row_bytes, row_of, true);
    return gather_from_tiles(*this, count, dst + first * geometry.row_bytes, row_of);
  });
}

template Result<void> Decoder::gather(std::span<const std::int32_t>, std::byte*, unsigned) const;
template Result<void> Decoder::gather(std::span<const std::int64_t>, std::byte*, unsigned) const;

Result<std::uint64_t> Decoder::expand_in_pieces(unsigned num_threads, const Consume& consume) const {
  const RowGeometry& geometry = header.geometry;
  const std::uint64_t size = geometry.num_bytes();
  // Pieces of a checksum do not end where rows do: a task expands all rows that its pieces touch. It has enough pieces
  // that the rows which two tasks expand do not matter.
  // Rows of a tensor without rows may have any size.
  if (size == 0) return checksum_of_digests({});
  const Bytes raw = reader.raw_rows();
  const std::uint64_t least = raw.empty() ? std::max<std::uint64_t>(4 * geometry.row_bytes, kChecksumPieceBytes) : kChecksumPieceBytes;
  const std::uint64_t pieces_per_task = ceil_div(least, kChecksumPieceBytes);
  const std::uint64_t task_bytes = pieces_per_task * kChecksumPieceBytes;
  std::vector<std::uint64_t> digests(ceil_div(size, kChecksumPieceBytes));
  STILLBIT_CHECK(cpu::parallel_for(ceil_div(size, task_bytes), cpu::resolve_threads(num_threads), [&](std::uint64_t task, unsigned) -> Result<void> {
    const std::uint64_t begin = task * task_bytes;
    const std::uint64_t end = std::min(begin + task_bytes, size);
    std::vector<std::byte> rows;
    Bytes wanted;
    if (raw.empty()) {
      const std::uint64_t first_row = begin / geometry.row_bytes;
      const std::uint64_t end_row = ceil_div(end, geometry.row_bytes);
      rows.resize((end_row - first_row) * geometry.row_bytes);
      STILLBIT_CHECK(expand(first_row, end_row - first_row, rows.data()));
      wanted = Bytes(rows).subspan(begin - first_row * geometry.row_bytes, end - begin);
    } else {
      wanted = raw.subspan(begin, end - begin);
    }
    for (std::uint64_t at = 0; at < wanted.size(); at += kChecksumPieceBytes) {
      digests[(begin + at) / kChecksumPieceBytes] = digest(wanted.subspan(at, std::min(kChecksumPieceBytes, wanted.size() - at)));
    }
    return consume(begin, wanted);
  }));
  return checksum_of_digests(digests);
}

Result<void> Decoder::expand_verified(unsigned num_threads, const Consume& consume) const {
  STILLBIT_TRY(const std::uint64_t checksum, expand_in_pieces(num_threads, consume));
  if (checksum != header.data_checksum) return corrupt("the expanded data does not have its checksum");
  return {};
}

}  // namespace stillbit
