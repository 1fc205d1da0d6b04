#include "api/decoder.hpp"

#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/copy.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>

namespace stillbit {
namespace {

/// Tiles that are found before the codec expands them together.
constexpr std::uint64_t kBatchTiles = 64;

/// The same for rows that are gathered in no order: one batch's rows arrive while those before are expanded, and what
/// is requested at once must not be more than a core can wait for.
constexpr std::uint64_t kBatchRows = 8;

/// How far ahead of a batch memory is requested, in rows that are gathered in no order.
constexpr std::uint64_t kPrefetchRows = 16;

/// Shorter rows that are gathered are written in the ordinary way: stores past the caches wait for each other, and the
/// rows that arrive wait with them.
constexpr std::uint64_t kPastCachesRowBytes = 1024;

/// Output bytes of one task; less than two tasks are not worth a thread.
constexpr std::uint64_t kTaskBytes = std::uint64_t{256} << 10;

Fault corrupt_row(const Decoder& decoder, std::uint64_t tile) {
  const std::uint64_t row = tile * decoder.header.tile_bytes / decoder.header.geometry.row_bytes;
  return corrupt((decoder.header.num_repeats > 0 ? "stored row " : "row ") + std::to_string(row) + " is malformed");
}

/// Requests the memory of rows that are gathered, each once, ahead of where they are expanded.
template <class TileOf>
class Requests {
 public:
  Requests(const packing::RowReader& reader, std::uint64_t count, const TileOf& tile_of)
      : reader_(reader), count_(count), tile_of_(tile_of) {}

  /// The rows from `next` on are the next to be expanded.
  void keep_ahead_of(std::uint64_t next) {
    for (const std::uint64_t end = std::min(count_, next + kBatchRows + kPrefetchRows); num_rows_ < end; ++num_rows_)
      reader_.prefetch(tile_of_(num_rows_));
    for (const std::uint64_t end = std::min(count_, next + 2 * kBatchRows); num_tails_ < end; ++num_tails_)
      reader_.prefetch_tail(tile_of_(num_tails_));
  }

 private:
  const packing::RowReader& reader_;
  std::uint64_t count_;
  const TileOf& tile_of_;
  std::uint64_t num_rows_ = 0;   ///< requested
  std::uint64_t num_tails_ = 0;  ///< rows whose tails were requested, where they have any
};

/// Expands stored tiles tile_of(0) … tile_of(count − 1). Tiles are handed to the codec in batches; one for which there
/// is no more scratch memory begins the next batch.
template <class TileOf>
Result<void> expand_tiles(const Decoder& decoder, std::uint64_t count, std::byte* dst, const TileOf& tile_of,
                          bool is_random, bool is_large) {
  using Place = packing::RowReader::Place;
  const std::uint64_t tile_bytes = decoder.header.tiles().row_bytes;
  const std::uint64_t batch_tiles = is_random ? kBatchRows : kBatchTiles;
  packing::RowReader::Scratch scratch;
  StoredRow batch[kBatchTiles];
  Requests requests(decoder.reader, count, tile_of);
  for (std::uint64_t first = 0; first < count;) {
    if (is_random) requests.keep_ahead_of(first);
    const std::uint64_t most = std::min(batch_tiles, count - first);
    scratch.clear();
    std::uint64_t num_tiles = 0;
    for (; num_tiles < most; ++num_tiles) {
      const Place place = decoder.reader.locate(tile_of(first + num_tiles), scratch, batch[num_tiles]);
      if (place == Place::kCorrupt) return corrupt_row(decoder, tile_of(first + num_tiles));
      if (place == Place::kNoRoom) break;
    }
    std::byte* const out = dst + first * tile_bytes;
    const std::uint64_t expanded = is_large ? decoder.codec.decode_past_caches(batch, num_tiles, out)
                                            : decoder.codec.decode(batch, num_tiles, out);
    if (expanded != num_tiles) return corrupt_row(decoder, tile_of(first + expanded));
    first += num_tiles;
  }
  return {};
}

/// Expands bytes of the tensor tile by tile. Keeps the last tile that was needed in part: neighbours may need it, too.
class PartExpander {
 public:
  PartExpander(const Decoder& decoder, bool is_large)
      : decoder_(decoder), tile_bytes_(decoder.header.tile_bytes), is_large_(is_large) {}

  Result<void> expand(std::uint64_t begin, std::uint64_t count, std::byte* dst) {
    if (begin % tile_bytes_ != 0) STILLBIT_CHECK(expand_part(begin, count, dst));
    const std::uint64_t num_tiles = count / tile_bytes_;
    const std::uint64_t first_tile = begin / tile_bytes_;
    const auto tile_of = [&](std::uint64_t i) { return decoder_.reader.stored(first_tile + i); };
    STILLBIT_CHECK(expand_tiles(decoder_, num_tiles, dst, tile_of, false, is_large_));
    begin += num_tiles * tile_bytes_;
    count -= num_tiles * tile_bytes_;
    dst += num_tiles * tile_bytes_;
    return count == 0 ? Result<void>() : expand_part(begin, count, dst);
  }

 private:
  /// Copies bytes up to the end of the tile that holds the first of them, and moves on behind them.
  Result<void> expand_part(std::uint64_t& begin, std::uint64_t& count, std::byte*& dst) {
    const std::uint64_t within = begin % tile_bytes_;
    const std::uint64_t num_bytes = std::min(count, tile_bytes_ - within);
    if (const std::uint64_t wanted = begin / tile_bytes_; tile_.empty() || wanted != held_) {
      tile_.resize(tile_bytes_);
      const auto tile_of = [&](std::uint64_t) { return decoder_.reader.stored(wanted); };
      STILLBIT_CHECK(expand_tiles(decoder_, 1, tile_.data(), tile_of, false, false));
      held_ = wanted;
    }
    std::memcpy(dst, tile_.data() + within, num_bytes);
    begin += num_bytes;
    count -= num_bytes;
    dst += num_bytes;
    return {};
  }

  const Decoder& decoder_;
  std::uint64_t tile_bytes_;
  bool is_large_;
  std::vector<std::byte> tile_;
  std::uint64_t held_ = 0;
};

/// Cuts `count` things of `unit_bytes` bytes into tasks and runs `body(first, count)` for each.
template <class Body>
Result<void> for_each_task(std::uint64_t count, std::uint64_t unit_bytes, unsigned num_threads, const Body& body) {
  const std::uint64_t units_per_task = std::max<std::uint64_t>(1, kTaskBytes / unit_bytes);
  // To ask the system for its processors takes as long as a few rows do.
  if (count > 0 && count <= units_per_task) return body(0, count);
  return cpu::parallel_for(ceil_div(count, units_per_task), cpu::resolve_threads(num_threads),
                           [&](std::uint64_t task, unsigned) {
                             const std::uint64_t first = task * units_per_task;
                             return body(first, std::min(units_per_task, count - first));
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

Result<void> Decoder::expand(std::byte* dst, unsigned num_threads) const {
  const std::uint64_t size = header.geometry.num_bytes();
  if (size == 0) return {};
  if (const Bytes raw = reader.raw_rows(); !raw.empty()) {
    return for_each_task(size, 1, num_threads, [&](std::uint64_t begin, std::uint64_t count) -> Result<void> {
      std::memcpy(dst + begin, raw.data() + begin, count);
      return {};
    });
  }
  const RowGeometry tiles = header.tiles();
  return for_each_task(tiles.num_rows, tiles.row_bytes, num_threads, [&](std::uint64_t first, std::uint64_t count) {
    const std::uint64_t begin = first * tiles.row_bytes;
    return PartExpander(*this, size >= cpu::kPastCachesBytes)
        .expand(begin, std::min(count * tiles.row_bytes, size - begin), dst + begin);
  });
}

template <class Index>
Result<void> Decoder::gather(std::span<const Index> index, std::byte* dst, unsigned num_threads) const {
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  STILLBIT_CHECK(check_indices(index, header.geometry.num_rows));
  if (row_bytes == 0) return {};
  const bool is_large = row_bytes >= kPastCachesRowBytes && index.size() * row_bytes >= cpu::kPastCachesBytes;
  return for_each_task(
      index.size(), row_bytes, num_threads, [&](std::uint64_t first, std::uint64_t count) -> Result<void> {
        const auto row_of = [&](std::uint64_t i) { return static_cast<std::uint64_t>(index[first + i]); };
        std::byte* const out = dst + first * row_bytes;
        if (header.tile_bytes == row_bytes)
          return expand_tiles(
              *this, count, out, [&](std::uint64_t i) { return reader.stored(row_of(i)); }, true, is_large);
        PartExpander expander(*this, false);
        for (std::uint64_t i = 0; i < count; ++i) {
          if (i + kPrefetchRows < count)
            reader.prefetch(reader.stored(row_of(i + kPrefetchRows) * row_bytes / header.tile_bytes));
          STILLBIT_CHECK(expander.expand(row_of(i) * row_bytes, row_bytes, out + i * row_bytes));
        }
        return {};
      });
}

template Result<void> Decoder::gather(std::span<const std::int32_t>, std::byte*, unsigned) const;
template Result<void> Decoder::gather(std::span<const std::int64_t>, std::byte*, unsigned) const;

Result<std::uint64_t> Decoder::expand_in_pieces(unsigned num_threads, const Consume& consume) const {
  const std::uint64_t size = header.geometry.num_bytes();
  Checksum checksum;
  if (size == 0) return checksum.value();
  const Bytes raw = reader.raw_rows();
  // Pieces of a checksum do not end where tiles do: a task has enough of them that tiles which two tasks expand do not
  // matter.
  const std::uint64_t least = raw.empty() ? std::max(4 * header.tile_bytes, kChecksumPieceBytes) : kChecksumPieceBytes;
  const std::uint64_t task_bytes = align_up(least, kChecksumPieceBytes);
  STILLBIT_CHECK(cpu::parallel_for(
      ceil_div(size, task_bytes), cpu::resolve_threads(num_threads), [&](std::uint64_t task, unsigned) -> Result<void> {
        const std::uint64_t begin = task * task_bytes;
        const std::uint64_t count = std::min(task_bytes, size - begin);
        std::vector<std::byte> expanded;
        Bytes part;
        if (raw.empty()) {
          expanded.resize(count);
          STILLBIT_CHECK(PartExpander(*this, false).expand(begin, count, expanded.data()));
          part = expanded;
        } else {
          part = raw.subspan(begin, count);
        }
        for (std::uint64_t at = 0; at < count; at += kChecksumPieceBytes) {
          checksum.add((begin + at) / kChecksumPieceBytes,
                       cpu::digest(part.subspan(at, std::min(kChecksumPieceBytes, count - at))));
        }
        return consume(begin, part);
      }));
  return checksum.value();
}

Result<void> Decoder::expand_verified(unsigned num_threads, const Consume& consume) const {
  STILLBIT_TRY(const std::uint64_t checksum, expand_in_pieces(num_threads, consume));
  if (checksum != header.data_checksum) return corrupt("the expanded data does not have its checksum");
  return {};
}

}  // namespace stillbit
