#pragma once

#include "codecs/codec.hpp"
#include "core/bits.hpp"
#include "format/payload.hpp"
#include "packings/slot.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::packing {

/// Finds stored tiles in the sections of a payload. The sections may be hostile: each tile is checked when it is
/// reached. What is called a row here is a tile, the row of codecs and packings.
class RowReader {
 public:
  /// `slack` is how many bytes behind the rows section may be read, at most RowCodec::kSlack of them matter.
  RowReader(const format::PayloadHeader& header, Bytes map, Bytes index, Bytes rows, Bytes overflow,
            std::uint64_t slack);

  /// One for each thread: memory for rows that have to be put together, and where the row behind the last one starts,
  /// which is mostly the next that is wanted.
  class Scratch {
   public:
    /// Gives up what was put together: its memory is used again.
    void clear() noexcept { used_ = 0; }

   private:
    friend class RowReader;
    std::vector<std::byte> bytes_;
    std::uint64_t used_ = 0;
    std::uint64_t next_row_ = ~std::uint64_t{0};
    std::uint64_t next_start_ = 0;
  };

  enum class Place { kFound, kNoRoom, kCorrupt };

  /// Which stored row a row is: itself, unless rows that repeat others are left out. What is returned is below the
  /// number of stored rows if the map is sound; `locate` checks it.
  [[nodiscard]] std::uint64_t stored(std::uint64_t row) const noexcept {
    if (!has_map_ || row >= num_rows_) return row;
    return load_bits(map_.data(), row * map_bits_, map_bits_);
  }

  /// Whether rows that repeat others are left out: rows are not all stored ones.
  [[nodiscard]] bool has_map() const noexcept { return has_map_; }

  /// Finds stored row `row`; one that is not there is corrupt: the memory of an index that was checked may be changed
  /// by another thread since. RowCodec::kSlack bytes behind the row are readable. A row that has to be put together is
  /// valid until the scratch is cleared, which has room for one at least, and for several short ones.
  Place locate(std::uint64_t row, Scratch& scratch, StoredRow& found) const {
    // Nearly all rows of a slotted tensor.
    if (row < num_whole_slots_ && holds_row(rows_.data() + row * row_unit_)) {
      found = {rows_.data() + row * row_unit_, row_unit_ - format::kSlotTagBytes, false};
      return Place::kFound;
    }
    return locate_any(row, scratch, found);
  }

  /// Finds packed rows that follow each other, from stored row `row` on: up to the first one, of `count` at most, that
  /// is corrupt or cannot be read in place. Returns how many these are; of rows without an index none.
  std::uint64_t locate_run(std::uint64_t row, std::uint64_t count, StoredRow* found) const noexcept;

  /// Whether rows are found by an index, which is read once for each: `request` first, and `locate` what it returned.
  [[nodiscard]] bool has_index() const noexcept { return entry_bytes_ > 0; }

  /// Of the rows section. Where it ends before it begins, nothing is there.
  struct Range {
    std::uint64_t begin = 1;
    std::uint64_t end = 0;
  };

  /// As `prefetch`, and says where `locate` will look. Precondition: `has_index`.
  [[nodiscard]] Range request(std::uint64_t row) const noexcept;

  /// As of the row that was requested.
  Place locate(const Range& row, Scratch& scratch, StoredRow& found) const {
    const std::uint64_t num_bytes = row.end - row.begin;
    if (num_bytes >= tiles_.row_bytes || row.end > whole_rows_end_) return packed_row(row, scratch, found);
    found.data = rows_.data() + row.begin;
    found.num_bytes = num_bytes;
    found.is_raw = false;
    return Place::kFound;
  }

  /// Slots that can be read in place, with RowCodec::kSlack bytes behind each. Not all of them hold their rows. Without
  /// slots in which encoded rows could be, slot_bytes is 0.
  struct Slots {
    const std::byte* data = nullptr;
    std::uint64_t slot_bytes = 0;
    std::uint64_t num_slots = 0;
  };
  [[nodiscard]] Slots slots() const noexcept {
    if (packing_ != Packing::kSlotted || row_unit_ == tiles_.row_bytes) return {};
    return {rows_.data(), row_unit_, num_whole_slots_};
  }

  /// All rows, when they are raw and lie back to back: the tensor itself. Empty otherwise.
  [[nodiscard]] Bytes raw_rows() const noexcept;

  /// Starts to load the memory that `locate` will look at.
  void prefetch(std::uint64_t row) const noexcept {
    row < num_whole_slots_ ? prefetch_lines(rows_.data() + row * row_unit_, row_unit_) : prefetch_any(row);
  }

  /// Once that has arrived: starts to load what of the row lies in the overflow area.
  void prefetch_tail(std::uint64_t row) const noexcept {
    if (row < num_whole_slots_ && !holds_row(rows_.data() + row * row_unit_)) request_tail(row);
  }

  /// Memory sectors of 32 bytes that reading the row touches, the index aside: what crosses a bus in place of the raw
  /// row. 0 for a corrupt row.
  [[nodiscard]] std::uint64_t num_sectors(std::uint64_t row) const noexcept;

 private:
  static constexpr std::uint64_t kLineBytes = 64;
  /// Of 8 bytes, behind up to 7 of a byte that they start within.
  static constexpr unsigned kBitsOfOneLoad = 64 - 7;
  /// More of a row is not worth a request: where it is read from the beginning, the hardware is ahead by then.
  static constexpr std::uint64_t kMostPrefetchedBytes = 64 * kLineBytes;

  [[nodiscard]] bool is_sound(const Range& range) const noexcept;
  [[nodiscard]] bool packed_range(std::uint64_t row, Range& range) const noexcept;
  [[nodiscard]] std::uint64_t packed_start(std::uint64_t row) const noexcept;
  [[nodiscard]] Range both_ends(std::uint64_t row) const noexcept;
  /// A hostile one must not wrap around into the section; what is added to it is far from doing so.
  [[nodiscard]] static std::uint64_t block_start(const std::byte* entry) noexcept {
    const auto start = load<std::uint64_t>(entry);
    return start < kMaxTensorBytes ? start : kMaxTensorBytes;
  }
  [[nodiscard]] bool holds_row(const std::byte* slot) const noexcept {
    return slot_tag(slot, row_unit_) == format::SlotTag::kInline;
  }
  /// Starts to load the lines that bytes touch, as many as are worth it. How often the loop runs does not depend on
  /// where they begin: for short rows that is not to be foreseen, and a line that is asked for twice takes less.
  static void prefetch_lines(const std::byte* begin, std::uint64_t num_bytes) noexcept {
    const std::uint64_t count = num_bytes < kMostPrefetchedBytes ? num_bytes : kMostPrefetchedBytes;
    for (std::uint64_t at = 0; at < count; at += kLineBytes) __builtin_prefetch(begin + at, 0, 2);
    if (count > 0) __builtin_prefetch(begin + count - 1, 0, 2);
  }
  void prefetch_any(std::uint64_t row) const noexcept;
  void request_tail(std::uint64_t row) const noexcept;
  static std::byte* room_for(std::uint64_t num_bytes, Scratch& scratch);
  Place locate_any(std::uint64_t row, Scratch& scratch, StoredRow& found) const;
  Place locate_slotted(std::uint64_t row, Scratch& scratch, StoredRow& found) const;
  Place packed_row(const Range& range, Scratch& scratch, StoredRow& found) const;
  Place readable(const std::byte* data, std::uint64_t num_bytes, bool is_raw, Scratch& scratch, StoredRow& found) const;

  Packing packing_;
  std::uint64_t num_rows_;
  RowGeometry tiles_;  ///< those that are stored
  bool has_map_;
  unsigned map_bits_;
  std::uint64_t row_unit_;
  unsigned index_bits_;
  Bytes map_;
  Bytes index_;
  Bytes rows_;
  Bytes overflow_;
  std::uint64_t slack_;
  std::uint64_t entry_bytes_ = 0;      ///< of the index, where there is one
  std::uint64_t num_paired_rows_ = 0;  ///< packed rows whose delta and the next one's can be loaded at once
  std::uint64_t whole_rows_end_ = 0;   ///< of the rows section: indexed rows up to there can be read in place
  std::uint64_t num_whole_slots_ = 0;  ///< slots with a tag, behind which RowCodec::kSlack bytes may be read
};

}  // namespace stillbit::packing
