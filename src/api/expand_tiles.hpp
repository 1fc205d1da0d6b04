#pragma once

#include "api/decoder.hpp"
#include "cpu/request_pattern.hpp"

#include <algorithm>
#include <string>
#include <vector>

// How a payload's tiles are expanded, into memory that has room for them.

namespace stillbit {

/// Output bytes of a task past the caches: when it ends, what is on its way is waited for.
inline constexpr std::uint64_t kTaskBytesPastCaches = std::uint64_t{2} << 20;

/// Tiles that are found before the codec expands them together: past the caches, where each call ends so, too, and
/// otherwise.
inline constexpr std::uint64_t kBatchTilesPastCaches = 256;
inline constexpr std::uint64_t kBatchTiles = 32;

static_assert(cpu::kMostGatheredRows <= RowCodec::kGatheredRows);

inline Fault corrupt_row(const Decoder& decoder, std::uint64_t tile) {
  const std::uint64_t row = tile * decoder.header.tile_bytes / decoder.header.geometry.row_bytes;
  return corrupt((decoder.header.num_repeats > 0 ? "stored row " : "row ") + std::to_string(row) + " is malformed");
}

/// Requests the memory of rows that are gathered, each once, ahead of where they are expanded.
template <class TileOf>
class Requests {
 public:
  Requests(const packing::RowReader& reader, std::uint64_t count, const TileOf& tile_of,
           const cpu::RequestPattern& pattern)
      : reader_(reader), count_(count), tile_of_(tile_of), pattern_(pattern) {}

  /// The rows from `next` on are the next to be expanded.
  void keep_ahead_of(std::uint64_t next) {
    const std::uint64_t behind_batch = next + pattern_.batch_rows;
    for (const std::uint64_t end = std::min(count_, behind_batch + pattern_.rows_ahead); num_rows_ < end; ++num_rows_)
      reader_.prefetch(tile_of_(num_rows_));
    for (const std::uint64_t end = std::min(count_, behind_batch + pattern_.batch_rows); num_tails_ < end; ++num_tails_)
      reader_.prefetch_tail(tile_of_(num_tails_));
  }

  std::uint64_t locate_run(std::uint64_t, std::uint64_t, StoredRow*) const { return 0; }
  packing::RowReader::Place locate(std::uint64_t i, packing::RowReader::Scratch& scratch, StoredRow& found) const {
    return reader_.locate(tile_of_(i), scratch, found);
  }

 private:
  const packing::RowReader& reader_;
  std::uint64_t count_;
  const TileOf& tile_of_;
  cpu::RequestPattern pattern_;
  std::uint64_t num_rows_ = 0;   ///< requested
  std::uint64_t num_tails_ = 0;  ///< rows whose tails were requested, where they have any
};

/// The same of packed rows: where they are was found when they were requested.
template <class TileOf>
class IndexedRequests {
 public:
  IndexedRequests(const packing::RowReader& reader, std::uint64_t count, const TileOf& tile_of,
                  const cpu::RequestPattern& pattern)
      : reader_(reader), count_(count), tile_of_(tile_of), pattern_(pattern) {}

  void keep_ahead_of(std::uint64_t next) {
    const std::uint64_t end = std::min(count_, next + pattern_.batch_rows + pattern_.rows_ahead);
    for (; num_rows_ < end; ++num_rows_) ranges_[num_rows_ % kMostAhead] = reader_.request(tile_of_(num_rows_));
  }

  std::uint64_t locate_run(std::uint64_t, std::uint64_t, StoredRow*) const { return 0; }
  packing::RowReader::Place locate(std::uint64_t i, packing::RowReader::Scratch& scratch, StoredRow& found) const {
    return reader_.locate(ranges_[i % kMostAhead], scratch, found);
  }

 private:
  static constexpr std::uint64_t kMostAhead = 64;
  static_assert(cpu::kMostGatheredRows + cpu::kMostRowsAhead <= kMostAhead);

  const packing::RowReader& reader_;
  std::uint64_t count_;
  const TileOf& tile_of_;
  cpu::RequestPattern pattern_;
  std::uint64_t num_rows_ = 0;                    ///< requested
  packing::RowReader::Range ranges_[kMostAhead];  ///< of the latest of them
};

/// No requests, of tiles that follow each other.
template <class TileOf>
class NoRequests {
 public:
  NoRequests(const packing::RowReader& reader, const TileOf& tile_of) : reader_(reader), tile_of_(tile_of) {}

  void keep_ahead_of(std::uint64_t) {}

  std::uint64_t locate_run(std::uint64_t first, std::uint64_t count, StoredRow* found) const {
    return reader_.has_map() ? 0 : reader_.locate_run(tile_of_(first), count, found);
  }
  packing::RowReader::Place locate(std::uint64_t i, packing::RowReader::Scratch& scratch, StoredRow& found) const {
    return reader_.locate(tile_of_(i), scratch, found);
  }

 private:
  const packing::RowReader& reader_;
  const TileOf& tile_of_;
};

/// Requests rows that were found, and have arrived in the second cache, into the first one.
inline void request_again(const StoredRow* rows, std::uint64_t num_rows) {
  constexpr std::uint64_t kLineBytes = 64;
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    for (std::uint64_t at = 0; at < rows[i].num_bytes; at += kLineBytes) __builtin_prefetch(rows[i].data + at);
    __builtin_prefetch(rows[i].data + rows[i].num_bytes - 1);
  }
}

/// Expands stored tiles tile_of(0) … tile_of(count − 1), which `requests` finds. Tiles are handed to the codec in
/// batches, which kMost is the most for; one for which there is no more scratch memory begins the next batch.
template <std::uint64_t kMost, class TileOf, class Requests>
Result<void> expand_in_batches(const Decoder& decoder, std::uint64_t count, std::byte* dst, const TileOf& tile_of,
                               const cpu::RequestPattern& pattern, Requests requests, bool is_large) {
  using Place = packing::RowReader::Place;
  const std::uint64_t tile_bytes = decoder.header.tiles().row_bytes;
  packing::RowReader::Scratch scratch;
  StoredRow batch[kMost];
  for (std::uint64_t first = 0; first < count;) {
    requests.keep_ahead_of(first);
    const std::uint64_t most = std::min(pattern.batch_rows, count - first);
    scratch.clear();
    std::uint64_t num_tiles = requests.locate_run(first, most, batch);
    for (; num_tiles < most; ++num_tiles) {
      const Place place = requests.locate(first + num_tiles, scratch, batch[num_tiles]);
      if (place == Place::kCorrupt) return corrupt_row(decoder, tile_of(first + num_tiles));
      if (place == Place::kNoRoom) break;
    }
    if (pattern.requests_again) request_again(batch, num_tiles);
    std::byte* const out = dst + first * tile_bytes;
    const std::uint64_t expanded = is_large ? decoder.codec.decode_past_caches(batch, num_tiles, out)
                                            : decoder.codec.decode(batch, num_tiles, out);
    if (expanded != num_tiles) return corrupt_row(decoder, tile_of(first + expanded));
    first += num_tiles;
  }
  return {};
}

/// Expands stored tiles that are gathered in no order.
template <class TileOf>
Result<void> expand_gathered(const Decoder& decoder, std::uint64_t count, std::byte* dst, const TileOf& tile_of,
                             bool is_large) {
  const cpu::RequestPattern pattern = cpu::gather_pattern(is_large);
  const auto expand = [&](auto requests) {
    return expand_in_batches<cpu::kMostGatheredRows>(decoder, count, dst, tile_of, pattern, requests, is_large);
  };
  return decoder.reader.has_index() ? expand(IndexedRequests(decoder.reader, count, tile_of, pattern))
                                    : expand(Requests(decoder.reader, count, tile_of, pattern));
}

/// Expands stored tiles that mostly follow each other.
template <class TileOf>
Result<void> expand_tiles(const Decoder& decoder, std::uint64_t count, std::byte* dst, const TileOf& tile_of,
                          bool is_large) {
  constexpr cpu::RequestPattern kPastCaches{.batch_rows = kBatchTilesPastCaches};
  constexpr cpu::RequestPattern kInCaches{.batch_rows = kBatchTiles};
  const NoRequests requests(decoder.reader, tile_of);
  return is_large ? expand_in_batches<kPastCaches.batch_rows>(decoder, count, dst, tile_of, kPastCaches, requests, true)
                  : expand_in_batches<kInCaches.batch_rows>(decoder, count, dst, tile_of, kInCaches, requests, false);
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
    STILLBIT_CHECK(expand_tiles(decoder_, num_tiles, dst, tile_of, is_large_));
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
      STILLBIT_CHECK(expand_tiles(decoder_, 1, tile_.data(), tile_of, false));
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

}  // namespace stillbit
