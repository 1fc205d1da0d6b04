#include "api/decoder.hpp"

#include "api/distinct_rows.hpp"
#include "api/expand_tiles.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/copy.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>

namespace stillbit {
namespace {

/// Rows from this size on are gathered past the caches, where there are many. Each call of a codec writes its first
/// line and its last in the ordinary way, which for short rows is too much of them.
constexpr std::uint64_t kPastCachesRowBytes = 256;

/// Output bytes of one task; less than two tasks are not worth a thread.
constexpr std::uint64_t kTaskBytes = std::uint64_t{256} << 10;

/// The same where what was expanded is copied from: the more there is of it, the better. What a second-level cache has.
constexpr std::uint64_t kTaskBytesWithRepeats = std::uint64_t{1} << 20;

/// Shorter rows are expanded in the time in which they are looked for among those that were.
constexpr std::uint64_t kLeastRepeatedRowBytes = 64;

/// Raw rows are copied anyway, and to write zeros takes less time than to read them, too.
bool takes_longer_than_a_copy(Codec codec) {
  return codec != Codec::kRaw && codec != Codec::kSparse;
}

/// Cuts `count` things of `unit_bytes` bytes into tasks, of `most_bytes` where that leaves one for each thread, and
/// runs `body(first, count)` for each.
template <class Body>
Result<void> for_each_task(std::uint64_t count, std::uint64_t unit_bytes, unsigned num_threads, const Body& body,
                           std::uint64_t most_bytes = kTaskBytes) {
  std::uint64_t units_per_task = std::max<std::uint64_t>(1, kTaskBytes / unit_bytes);
  // To ask the system for its processors takes as long as a few rows do.
  if (count > 0 && count <= units_per_task) return body(0, count);
  num_threads = cpu::resolve_threads(num_threads);
  units_per_task =
      std::clamp(ceil_div(count, num_threads), units_per_task, std::max(units_per_task, most_bytes / unit_bytes));
  return cpu::parallel_for(ceil_div(count, units_per_task), num_threads, [&](std::uint64_t task, unsigned) {
    const std::uint64_t first = task * units_per_task;
    return body(first, std::min(units_per_task, count - first));
  });
}

}  // namespace

template <class Index>
Result<void> check_indices(std::span<const Index> index, std::uint64_t num_rows) {
  // For a row neither number has its highest bit. Without a branch for each row, several are looked at together.
  std::uint64_t bits = 0;
  for (const Index row : index) {
    const auto number = static_cast<std::uint64_t>(std::int64_t{row});
    bits |= number | (num_rows - 1 - number);
  }
  if (bits >> 63 == 0) return {};
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
  const bool is_large = size >= cpu::kPastCachesBytes;
  const auto expand_task = [&](std::uint64_t first, std::uint64_t count) {
    const std::uint64_t begin = first * tiles.row_bytes;
    return PartExpander(*this, is_large).expand(begin, std::min(count * tiles.row_bytes, size - begin), dst + begin);
  };
  return for_each_task(tiles.num_rows, tiles.row_bytes, num_threads, expand_task,
                       is_large ? kTaskBytesPastCaches : kTaskBytes);
}

template <class Index>
Result<void> Decoder::expand_rows(std::span<const Index> index, std::byte* dst, bool is_large) const {
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  const auto row_of = [&](std::uint64_t i) { return static_cast<std::uint64_t>(index[i]); };
  if (header.tile_bytes == row_bytes)
    return expand_gathered(
        *this, index.size(), dst, [&](std::uint64_t i) { return reader.stored(row_of(i)); }, is_large);
  constexpr std::uint64_t kRowsAhead = cpu::kMostRowsAhead;
  PartExpander expander(*this, false);
  for (std::uint64_t i = 0; i < index.size(); ++i) {
    if (i + kRowsAhead < index.size())
      reader.prefetch(reader.stored(row_of(i + kRowsAhead) * row_bytes / header.tile_bytes));
    STILLBIT_CHECK(expander.expand(row_of(i) * row_bytes, row_bytes, dst + i * row_bytes));
  }
  return {};
}

template <class Index>
Result<void> Decoder::gather(std::span<const Index> index, std::byte* dst, unsigned num_threads) const {
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  STILLBIT_CHECK(check_indices(index, header.geometry.num_rows));
  if (row_bytes == 0) return {};
  const bool is_large = row_bytes >= kPastCachesRowBytes && index.size() * row_bytes >= cpu::kPastCachesBytes;
  // What was written past the caches is not to be read again.
  const bool copies_repeats =
      row_bytes >= kLeastRepeatedRowBytes && !is_large && takes_longer_than_a_copy(header.codec) && has_repeats(index);
  const auto gather_task = [&](std::uint64_t first, std::uint64_t count) -> Result<void> {
    std::byte* const out = dst + first * row_bytes;
    if (!copies_repeats) return expand_rows(index.subspan(first, count), out, is_large);
    const DistinctRows distinct(index.subspan(first, count));
    STILLBIT_CHECK(expand_rows(distinct.rows(), out, is_large));
    distinct.spread(out, row_bytes);
    return {};
  };
  return for_each_task(index.size(), row_bytes, num_threads, gather_task,
                       copies_repeats ? kTaskBytesWithRepeats
                       : is_large     ? kTaskBytesPastCaches
                                      : kTaskBytes);
}

template Result<void> Decoder::gather(std::span<const std::int32_t>, std::byte*, unsigned) const;
template Result<void> Decoder::gather(std::span<const std::int64_t>, std::byte*, unsigned) const;

Result<std::uint64_t> Decoder::expand_in_pieces(unsigned num_threads, const Consume& consume) const {
  return expand_in_pieces(nullptr, num_threads, consume);
}

/// Pieces are expanded at their places in `dst`, if there is one, and are in the caches still when they are looked at.
Result<std::uint64_t> Decoder::expand_in_pieces(std::byte* dst, unsigned num_threads, const Consume& consume) const {
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
          if (dst == nullptr) expanded.resize(count);
          std::byte* const out = dst == nullptr ? expanded.data() : dst + begin;
          STILLBIT_CHECK(PartExpander(*this, false).expand(begin, count, out));
          part = Bytes(out, count);
        } else {
          part = raw.subspan(begin, count);
          if (dst != nullptr) std::memcpy(dst + begin, part.data(), count);
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
  return check(checksum);
}

Result<void> Decoder::expand_verified(std::byte* dst, unsigned num_threads) const {
  const auto ignore = [](std::uint64_t, Bytes) { return Result<void>(); };
  STILLBIT_TRY(const std::uint64_t checksum, expand_in_pieces(dst, num_threads, ignore));
  return check(checksum);
}

Result<void> Decoder::check(std::uint64_t checksum) const {
  if (checksum == header.data_checksum) return {};
  return corrupt("the expanded data does not have its checksum");
}

}  // namespace stillbit
