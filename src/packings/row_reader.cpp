#include "packings/row_reader.hpp"

#include <algorithm>

namespace stillbit::packing {
namespace {

constexpr std::uint64_t kSectorBytes = 32;

/// Scratch memory has so many bytes, or room for one row.
constexpr std::uint64_t kScratchBytes = std::uint64_t{32} << 10;

/// Sectors that `num_bytes` bytes from `offset` on touch, where sectors are counted from offset 0.
std::uint64_t sectors(std::uint64_t offset, std::uint64_t num_bytes) noexcept {
  return num_bytes == 0 ? 0 : (offset + num_bytes - 1) / kSectorBytes - offset / kSectorBytes + 1;
}

}  // namespace

RowReader::RowReader(const format::PayloadHeader& header, Bytes map, Bytes index, Bytes rows, Bytes overflow,
                     std::uint64_t slack)
    : packing_(header.packing),
      num_rows_(header.geometry.num_rows),
      tiles_(header.stored_tiles()),
      has_map_(header.num_repeats > 0),
      map_bits_(header.map_bits()),
      row_unit_(header.row_unit),
      index_bits_(header.index_bits),
      map_(map),
      index_(index),
      rows_(rows),
      overflow_(overflow),
      slack_(slack) {
  if (packing_ == Packing::kSlotted && row_unit_ < tiles_.row_bytes && rows_.size() + slack_ >= RowCodec::kSlack)
    num_whole_slots_ = std::min(tiles_.num_rows, (rows_.size() + slack_ - RowCodec::kSlack) / row_unit_);
  if (packing_ != Packing::kPacked || index_bits_ == 0) return;
  entry_bytes_ = format::index_entry_bytes(index_bits_);
  // Behind all but the last entry there are 8 bytes.
  if (2 * index_bits_ <= kBitsOfOneLoad && tiles_.num_rows > 0 && index_.size() >= entry_bytes_)
    num_paired_rows_ = std::min(tiles_.num_rows - 1, (index_.size() / entry_bytes_ - 1) * format::kIndexBlockTiles);
  if (rows_.size() + slack_ >= RowCodec::kSlack)
    whole_rows_end_ = std::min(rows_.size(), rows_.size() + slack_ - RowCodec::kSlack);
}

/// Room for a row, or null when it has to wait until the scratch is cleared.
std::byte* RowReader::room_for(std::uint64_t num_bytes, Scratch& scratch) {
  const std::uint64_t begin = scratch.used_;
  const std::uint64_t end = begin + num_bytes + RowCodec::kSlack;
  if (end > scratch.bytes_.size()) {
    if (begin > 0) return nullptr;
    scratch.bytes_.resize(std::max(end, kScratchBytes));
  }
  scratch.used_ = end;
  return scratch.bytes_.data() + begin;
}

inline std::uint64_t RowReader::packed_start(std::uint64_t row) const noexcept {
  const std::uint64_t entry_offset = row / format::kIndexBlockTiles * entry_bytes_;
  const std::byte* entry = index_.data() + entry_offset;
  const std::uint64_t within = row % format::kIndexBlockTiles;
  const std::uint64_t bit = within * index_bits_;
  static_assert(format::kMaxIndexBits <= 64 - 7, "a delta lies in 8 bytes, from any bit of a byte on");
  const bool has_eight_bytes = entry_offset + 8 + bit / 8 + 8 <= index_.size();
  const std::uint64_t delta =
      has_eight_bytes ? load<std::uint64_t>(entry + 8 + bit / 8) >> (bit % 8) & ((std::uint64_t{1} << index_bits_) - 1)
                      : load_bits(entry + 8, bit, index_bits_);
  return block_start(entry) + within * row_unit_ + delta;
}

inline bool RowReader::is_sound(const Range& range) const noexcept {
  return range.begin <= range.end && range.end <= rows_.size() && range.end - range.begin <= tiles_.row_bytes;
}

bool RowReader::packed_range(std::uint64_t row, Range& range) const noexcept {
  if (row >= tiles_.num_rows) return false;
  if (index_bits_ == 0) {
    range = {row * row_unit_, (row + 1) * row_unit_};
    return true;
  }
  range = both_ends(row);
  return is_sound(range);
}

/// Where a row starts and ends, by one load of both deltas where they are in one index block.
inline RowReader::Range RowReader::both_ends(std::uint64_t row) const noexcept {
  const std::uint64_t within = row % format::kIndexBlockTiles;
  if (row >= num_paired_rows_ || within + 1 == format::kIndexBlockTiles)
    return {packed_start(row), row + 1 < tiles_.num_rows ? packed_start(row + 1) : rows_.size()};
  const std::byte* entry = index_.data() + row / format::kIndexBlockTiles * entry_bytes_;
  const std::uint64_t bit = within * index_bits_;
  const std::uint64_t deltas = load<std::uint64_t>(entry + 8 + bit / 8) >> (bit % 8);
  const std::uint64_t mask = (std::uint64_t{1} << index_bits_) - 1;
  const std::uint64_t start = block_start(entry) + within * row_unit_;
  return {start + (deltas & mask), start + row_unit_ + (deltas >> index_bits_ & mask)};
}

/// `found` is written field by field: to copy a row that was just written so waits for the stores.
inline RowReader::Place RowReader::readable(const std::byte* data, std::uint64_t num_bytes, bool is_raw,
                                            Scratch& scratch, StoredRow& found) const {
  found.data = data;
  found.num_bytes = num_bytes;
  found.is_raw = is_raw;
  const auto left = static_cast<std::uint64_t>(rows_.data() + rows_.size() - data);
  if (is_raw || num_bytes + RowCodec::kSlack <= left + slack_) return Place::kFound;
  std::byte* const room = room_for(num_bytes, scratch);
  if (room == nullptr) return Place::kNoRoom;
  std::copy_n(data, num_bytes, room);
  found.data = room;
  return Place::kFound;
}

RowReader::Place RowReader::locate_slotted(std::uint64_t row, Scratch& scratch, StoredRow& found) const {
  if (row >= tiles_.num_rows) return Place::kCorrupt;
  const std::byte* slot = rows_.data() + row * row_unit_;
  if (row_unit_ == tiles_.row_bytes) return readable(slot, row_unit_, true, scratch, found);
  const format::SlotTag tag = slot_tag(slot, row_unit_);
  if (tag == format::SlotTag::kInline) return readable(slot, row_unit_ - format::kSlotTagBytes, false, scratch, found);
  if (tag != format::SlotTag::kEncodedTail && tag != format::SlotTag::kRawTail) return Place::kCorrupt;

  const SlotTrailer trailer = slot_trailer(slot, row_unit_);
  if (trailer.tail_offset > overflow_.size() || trailer.tail_bytes > overflow_.size() - trailer.tail_offset) {
    return Place::kCorrupt;
  }
  const bool is_raw = tag == format::SlotTag::kRawTail;
  const std::uint64_t head_bytes = slot_head_bytes(row_unit_);
  const std::uint64_t num_bytes = head_bytes + trailer.tail_bytes;
  if (is_raw ? num_bytes != tiles_.row_bytes : num_bytes >= tiles_.row_bytes) return Place::kCorrupt;
  std::byte* const room = room_for(num_bytes, scratch);
  if (room == nullptr) return Place::kNoRoom;
  std::copy_n(slot, head_bytes, room);
  std::copy_n(overflow_.data() + trailer.tail_offset, trailer.tail_bytes, room + head_bytes);
  found = {room, num_bytes, is_raw};
  return Place::kFound;
}

RowReader::Place RowReader::packed_row(const Range& range, Scratch& scratch, StoredRow& found) const {
  if (!is_sound(range)) return Place::kCorrupt;
  const std::uint64_t num_bytes = range.end - range.begin;
  return readable(rows_.data() + range.begin, num_bytes, num_bytes == tiles_.row_bytes, scratch, found);
}

std::uint64_t RowReader::locate_run(std::uint64_t row, std::uint64_t count, StoredRow* found) const noexcept {
  if (!has_index() || row >= tiles_.num_rows) return 0;
  // Behind the last row there is no start.
  const std::uint64_t most = std::min(count, tiles_.num_rows - 1 - row);
  std::uint64_t begin = packed_start(row);
  for (std::uint64_t i = 0; i < most; ++i) {
    const std::uint64_t end = packed_start(row + i + 1);
    const std::uint64_t num_bytes = end - begin;
    if (num_bytes > tiles_.row_bytes || end > whole_rows_end_) return i;
    found[i] = {rows_.data() + begin, num_bytes, num_bytes == tiles_.row_bytes};
    begin = end;
  }
  return most;
}

RowReader::Place RowReader::locate_any(std::uint64_t row, Scratch& scratch, StoredRow& found) const {
  if (packing_ == Packing::kSlotted) return locate_slotted(row, scratch, found);
  if (index_bits_ != 0 && row == scratch.next_row_ && row + 1 < tiles_.num_rows) {
    // As packed_range, with what is known.
    const Range range{scratch.next_start_, packed_start(row + 1)};
    ++scratch.next_row_;
    scratch.next_start_ = range.end;
    return packed_row(range, scratch, found);
  }
  Range range;
  if (!packed_range(row, range)) return Place::kCorrupt;
  scratch.next_row_ = row + 1;
  scratch.next_start_ = range.end;
  return packed_row(range, scratch, found);
}

Bytes RowReader::raw_rows() const noexcept {
  const bool holds_rows = row_unit_ == tiles_.row_bytes && index_bits_ == 0 && !has_map_;
  return holds_rows ? rows_ : Bytes();
}

void RowReader::prefetch_any(std::uint64_t row) const noexcept {
  Range range{row * row_unit_, (row + 1) * row_unit_};
  if (packing_ == Packing::kPacked && !packed_range(row, range)) return;
  prefetch_lines(rows_.data() + range.begin, range.end - range.begin);
}

RowReader::Range RowReader::request(std::uint64_t row) const noexcept {
  Range range;
  if (!packed_range(row, range)) return {};
  prefetch_lines(rows_.data() + range.begin, range.end - range.begin);
  return range;
}

void RowReader::request_tail(std::uint64_t row) const noexcept {
  const SlotTrailer trailer = slot_trailer(rows_.data() + row * row_unit_, row_unit_);
  if (trailer.tail_offset > overflow_.size() || trailer.tail_bytes > overflow_.size() - trailer.tail_offset) return;
  prefetch_lines(overflow_.data() + trailer.tail_offset, trailer.tail_bytes);
}

std::uint64_t RowReader::num_sectors(std::uint64_t row) const noexcept {
  if (packing_ == Packing::kPacked) {
    Range range;
    return packed_range(row, range) ? sectors(range.begin, range.end - range.begin) : 0;
  }
  // The whole slot is read: how much of it a row fills shows only in the row itself.
  std::uint64_t count = sectors(row * row_unit_, row_unit_);
  const std::byte* slot = rows_.data() + row * row_unit_;
  if (row_unit_ != tiles_.row_bytes && slot_tag(slot, row_unit_) != format::SlotTag::kInline) {
    const SlotTrailer trailer = slot_trailer(slot, row_unit_);
    count += sectors(trailer.tail_offset % kSectorBytes, trailer.tail_bytes);
  }
  return count;
}

}  // namespace stillbit::packing
