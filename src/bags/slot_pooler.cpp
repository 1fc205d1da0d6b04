#include "bags/slot_pooler.hpp"

#include <algorithm>
#include <bit>

namespace stillbit {
namespace {

constexpr std::uint64_t kLineBytes = 64;

/// How many lines a slot can touch, each of which begins at a multiple of what their size and the first one's place
/// have in common.
unsigned lines_of(const packing::RowReader::Slots& slots) {
  const std::uint64_t places = reinterpret_cast<std::uintptr_t>(slots.data) | slots.slot_bytes | kLineBytes;
  const std::uint64_t alignment = std::uint64_t{1} << std::countr_zero(places);
  return static_cast<unsigned>((2 * kLineBytes - alignment + slots.slot_bytes - 1) / kLineBytes);
}

}  // namespace

bool SlotPooler::can_pool(const PoolWork& work) {
  const std::uint64_t slot_bytes = work.reader.slots().slot_bytes;
  return work.mode != PoolMode::kMax && !work.has_weights && work.has_row_tiles && slot_bytes > 0 &&
         work.decoder.codec.sums_slots(work.header.dtype, slot_bytes);
}

SlotPooler::SlotPooler(const PoolWork& work, HotRows& hot_rows, std::uint64_t first_bag, std::uint64_t last_bag)
    : work_(work),
      hot_rows_(hot_rows),
      slots_(work.reader.slots()),
      bag_{first_bag},
      last_bag_(last_bag),
      position_(work.begin_of(first_bag)),
      is_plain_(!work.has_padding && !work.reader.has_map()),
      most_rows_(std::clamp(kBatchBytes / work.row_bytes, kFewRows, kMostRows)),
      no_slot_(slots_.slot_bytes),
      expanded_(most_rows_ * work.row_bytes),
      state_(pooling::state_bytes(work.row_bytes)) {
  std::memset(no_slot_.data(), 0xFF, slots_.slot_bytes);
  batch_.row_bytes = work.row_bytes;
  batch_.arithmetic = work.has_padding ? pooling::Arithmetic::kSeparate : pooling::Arithmetic::kFused;
  batch_.state = state_.data();
  batch_.slot_bytes = slots_.slot_bytes;
  batch_.num_requests = lines_of(slots_);
}

Result<void> SlotPooler::run() {
  for (std::uint64_t i = 0; i < kBatchesAhead; ++i) {
    Rows& rows = rows_ahead(i);
    fill(rows);
    for (std::uint64_t r = 0; r < rows.num_rows; ++r)
      pooling::request_slot(rows.slots[r], slots_.slot_bytes, batch_.num_requests);
  }
  find_tails(rows_ahead(0));
  for (; rows_ahead(0).num_pieces > 0; ++now_) {
    fill(rows_ahead(kBatchesAhead));
    find_tails(rows_ahead(1));
    STILLBIT_CHECK(expand_tails(rows_ahead(0)));
    STILLBIT_CHECK(add(rows_ahead(0), rows_ahead(kBatchesAhead)));
  }
  return {};
}

/// Lays out the next rows, as many as go together, and notes which bags they belong to.
void SlotPooler::fill(Rows& rows) {
  rows.num_rows = 0;
  rows.num_pieces = 0;
  while (bag_.number < last_bag_ && rows.num_rows < most_rows_ && rows.num_pieces < kMostPieces) {
    const std::uint64_t end = work_.end_of(bag_.number);
    const std::uint64_t first_row = rows.num_rows;
    take_rows(rows, end);
    rows.pieces[rows.num_pieces++] = bag_.take(work_, rows.num_rows - first_row, position_ == end);
  }
}

void SlotPooler::take_rows(Rows& rows, std::uint64_t end) {
  if (!is_plain_) return take_any_rows(rows, end);
  const std::uint64_t count = std::min(end - position_, most_rows_ - rows.num_rows);
  work_.index.is_wide() ? take_plain_rows<std::int64_t>(rows, count) : take_plain_rows<std::int32_t>(rows, count);
}

/// Without padding, and where every row is its own tile: a row takes as long as a few instructions.
template <class Integer>
void SlotPooler::take_plain_rows(Rows& rows, std::uint64_t count) {
  const std::byte* const index = work_.index.data() + position_ * sizeof(Integer);
  const packing::RowReader::Slots slots = slots_;
  const std::byte* const no_slot = no_slot_.data();
  const std::byte** const found = rows.slots + rows.num_rows;
  std::uint64_t* const tiles = rows.tiles + rows.num_rows;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto tile = static_cast<std::uint64_t>(std::int64_t{load<Integer>(index + i * sizeof(Integer))});
    tiles[i] = tile;
    found[i] = tile < slots.num_slots ? slots.data + tile * slots.slot_bytes : no_slot;
  }
  rows.num_rows += count;
  position_ += count;
}

void SlotPooler::take_any_rows(Rows& rows, std::uint64_t end) {
  std::uint64_t count = rows.num_rows;
  for (; position_ < end && count < most_rows_; ++position_) {
    const std::uint64_t row = work_.index[position_];
    if (work_.has_padding && row == work_.padding) continue;
    const std::uint64_t tile = work_.reader.stored(row);
    rows.tiles[count] = tile;
    rows.slots[count] = tile < slots_.num_slots ? slots_.data + tile * slots_.slot_bytes : no_slot_.data();
    ++count;
  }
  rows.num_rows = count;
}

/// Finds the rows that do not lie in their slots, and requests what they have elsewhere. Of a batch whose slots were
/// requested before: to look at once would be to wait.
void SlotPooler::find_tails(Rows& rows) const {
  const std::uint64_t tag_at = slots_.slot_bytes - format::kSlotTagBytes;
  std::uint64_t tails = 0;
  for (std::uint64_t r = 0; r < rows.num_rows; ++r)
    tails |= std::uint64_t{load<format::SlotTag>(rows.slots[r] + tag_at) != format::SlotTag::kInline} << r;
  rows.tails = tails;
  for (; tails != 0; tails &= tails - 1) work_.reader.prefetch_tail(rows.tiles[std::countr_zero(tails)]);
}

/// Expands the rows that do not lie in their slots, and has them in place of these.
Result<void> SlotPooler::expand_tails(Rows& rows) {
  batch_.expanded = rows.tails;
  for (std::uint64_t left = rows.tails; left != 0; left &= left - 1) {
    const auto r = static_cast<unsigned>(std::countr_zero(left));
    std::byte* const expanded = expanded_.data() + r * work_.row_bytes;
    STILLBIT_CHECK(expand_row(rows.tiles[r], expanded));
    rows.slots[r] = expanded;
  }
  return {};
}

Result<void> SlotPooler::expand_row(std::uint64_t tile, std::byte* dst) {
  hot_rows_.begin(&work_, work_.row_bytes);
  const bool uses_hot_rows = hot_rows_.is_usable();
  if (const std::byte* const hot = uses_hot_rows ? hot_rows_.find(tile) : nullptr; hot != nullptr) {
    std::memcpy(dst, hot, work_.row_bytes);
    return {};
  }
  StoredRow stored;
  scratch_.clear();
  const bool is_found = work_.reader.locate(tile, scratch_, stored) == packing::RowReader::Place::kFound;
  if (!is_found || work_.decoder.codec.decode(&stored, 1, dst) != 1) return corrupt_row(work_.decoder, tile);
  if (uses_hot_rows && hot_rows_.is_wanted_again(tile)) hot_rows_.keep(tile, dst);
  return {};
}

Result<void> SlotPooler::add(const Rows& rows, const Rows& coming) {
  batch_.rows = rows.slots;
  batch_.num_rows = rows.num_rows;
  batch_.pieces = rows.pieces;
  batch_.num_pieces = rows.num_pieces;
  batch_.coming = coming.slots;
  batch_.num_coming = coming.num_rows;
  const std::uint64_t num_well = work_.decoder.codec.sum_slots(work_.header.dtype, batch_);
  if (num_well == rows.num_rows) return {};
  return corrupt_row(work_.decoder, rows.tiles[num_well]);
}

}  // namespace stillbit
