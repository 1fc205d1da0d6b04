#include "bags/bag_pooler.hpp"

#include <algorithm>

namespace stillbit {

static_assert(pooling::kSlack <= Buffer::kSlack);
static_assert(RowCodec::kSlack <= Buffer::kSlack, "what codecs write behind a row");

pooling::Piece OpenBag::take(const PoolWork& work, std::uint64_t count, bool ends) noexcept {
  pooling::Piece piece;
  piece.out = work.out + number * work.out_stride;
  piece.num_rows = count;
  piece.begins = num_rows == 0;
  piece.ends = ends;
  num_rows += count;
  piece.divisor = ends && work.mode == PoolMode::kMean ? std::max<std::uint64_t>(1, num_rows) : 0;
  if (!ends) return piece;
  num_rows = 0;
  ++number;
  // Where the result goes is fetched long before it is written: stores that wait for it hold up the rows behind.
  constexpr std::uint64_t kLineBytes = 64;
  for (std::uint64_t at = 0; at < work.row_bytes; at += kLineBytes) __builtin_prefetch(piece.out + at, 1);
  return piece;
}

BagPooler::BagPooler(const PoolWork& work, HotRows& hot_rows, std::uint64_t first_bag, std::uint64_t last_bag)
    : work_(work),
      hot_rows_(hot_rows),
      bag_{first_bag},
      last_bag_(last_bag),
      position_(work.begin_of(first_bag)),
      end_(work.end_of(last_bag - 1)),
      num_requested_(position_),
      num_tails_(position_),
      most_rows_(std::clamp<std::uint64_t>(kExpandedBytes / work.row_bytes, 1, kMostRows)),
      parts_(work.decoder, false),
      expanded_(most_rows_ * work.row_bytes),
      state_(pooling::state_bytes(work.row_bytes)) {
  batch_.rows = rows_;
  batch_.weights = work.has_weights ? weights_ : nullptr;
  batch_.pieces = pieces_;
  batch_.row_bytes = work.row_bytes;
  batch_.arithmetic = work.has_padding ? pooling::Arithmetic::kSeparate : pooling::Arithmetic::kFused;
  batch_.state = state_.data();
  hot_rows.begin(&work.header, work.row_bytes);
  uses_hot_rows_ = work.has_row_tiles && hot_rows.is_usable();
}

Result<void> BagPooler::run() {
  const auto pool_batch = work_.mode == PoolMode::kMax ? work_.kernels.max : work_.kernels.sum;
  while (bag_.number < last_bag_) {
    request_rows();
    STILLBIT_CHECK(fill_batch());
    STILLBIT_CHECK(expand_batch());
    pool_batch(batch_);
    keep_hot_rows();
  }
  return {};
}

/// Requests the memory of rows to come, unless they are kept expanded. The next batch needs the first of them. Tails
/// are looked for in rows that were requested a batch ago: to look at once would be to wait.
void BagPooler::request_rows() {
  const std::uint64_t end = std::min(end_, position_ + most_rows_ + kRowsAhead);
  for (; num_requested_ < end; ++num_requested_) {
    const std::uint64_t row = work_.index[num_requested_];
    const bool is_hot = uses_hot_rows_ && hot_rows_.find(row) != nullptr;
    std::uint64_t& requested = requested_[num_requested_ % kMostRequested];
    requested = is_hot ? kNotRequested : work_.tile_of(row);
    if (!is_hot) work_.reader.prefetch(requested);
  }
  for (const std::uint64_t last = std::min(end_, position_ + kRowsAhead); num_tails_ < last; ++num_tails_) {
    const std::uint64_t requested = requested_[num_tails_ % kMostRequested];
    if (requested != kNotRequested) work_.reader.prefetch_tail(requested);
  }
}

/// Finds the next rows, as many as go together, and notes which bags they belong to.
Result<void> BagPooler::fill_batch() {
  num_rows_ = 0;
  num_expanded_ = 0;
  num_kept_ = 0;
  batch_.num_pieces = 0;
  scratch_.clear();
  Taken taken = Taken::kYes;
  while (taken == Taken::kYes && bag_.number < last_bag_ && batch_.num_pieces < kMostPieces) {
    const std::uint64_t end = work_.end_of(bag_.number);
    const std::uint64_t first_row = num_rows_;
    for (; position_ < end && taken == Taken::kYes; position_ += taken == Taken::kYes ? 1 : 0)
      taken = num_rows_ < most_rows_ ? take_row() : Taken::kNoRoom;
    if (taken == Taken::kCorrupt) return corrupt_row(work_.decoder, work_.tile_of(work_.index[position_]));
    pieces_[batch_.num_pieces++] = bag_.take(work_, num_rows_ - first_row, position_ == end);
  }
  return {};
}

/// Takes the next row into the batch, unless it is left out.
BagPooler::Taken BagPooler::take_row() {
  const std::uint64_t row = work_.index[position_];
  if (work_.has_padding && row == work_.padding) return Taken::kYes;
  if (const std::byte* const hot = uses_hot_rows_ ? hot_rows_.find(row) : nullptr; hot != nullptr) {
    rows_[num_rows_] = hot;
  } else if (const Taken taken = find_row(row); taken != Taken::kYes) {
    return taken;
  }
  if (work_.has_weights)
    std::memcpy(weights_ + num_rows_ * work_.element_bytes, work_.weights + position_ * work_.element_bytes,
                work_.element_bytes);
  ++num_rows_;
  return Taken::kYes;
}

/// Finds a row that is to be expanded.
BagPooler::Taken BagPooler::find_row(std::uint64_t row) {
  using Place = packing::RowReader::Place;
  if (work_.has_row_tiles) {
    const Place place = work_.reader.locate(work_.tile_of(row), scratch_, stored_[num_expanded_]);
    if (place != Place::kFound) return place == Place::kNoRoom ? Taken::kNoRoom : Taken::kCorrupt;
  }
  if (uses_hot_rows_ && hot_rows_.is_wanted_again(row)) kept_[num_kept_++] = num_expanded_;
  row_numbers_[num_expanded_] = row;
  rows_[num_rows_] = expanded_.data() + num_expanded_ * work_.row_bytes;
  ++num_expanded_;
  return Taken::kYes;
}

/// Once nothing refers to the rows that these replace.
void BagPooler::keep_hot_rows() {
  for (std::uint64_t i = 0; i < num_kept_; ++i)
    hot_rows_.keep(row_numbers_[kept_[i]], expanded_.data() + kept_[i] * work_.row_bytes);
}

Result<void> BagPooler::expand_batch() {
  if (work_.has_row_tiles) {
    if (num_expanded_ == 0) return {};
    const std::uint64_t num_well = work_.decoder.codec.decode(stored_, num_expanded_, expanded_.data());
    if (num_well == num_expanded_) return {};
    return corrupt_row(work_.decoder, work_.tile_of(row_numbers_[num_well]));
  }
  for (std::uint64_t i = 0; i < num_expanded_; ++i)
    STILLBIT_CHECK(
        parts_.expand(row_numbers_[i] * work_.row_bytes, work_.row_bytes, expanded_.data() + i * work_.row_bytes));
  return {};
}

}  // namespace stillbit
