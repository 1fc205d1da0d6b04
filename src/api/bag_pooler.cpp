#include "api/bag_pooler.hpp"

#include <algorithm>

namespace stillbit {

static_assert(pooling::kSlack <= Buffer::kSlack);
static_assert(RowCodec::kSlack <= Buffer::kSlack, "what codecs write behind a row");

BagPooler::BagPooler(const PoolWork& work, std::uint64_t first_bag, std::uint64_t last_bag)
    : work_(work),
      bag_(first_bag),
      last_bag_(last_bag),
      position_(work.begin_of(first_bag)),
      most_rows_(std::clamp<std::uint64_t>(kExpandedBytes / work.row_bytes, 1, kBatchRows)),
      parts_(work.decoder, false),
      expanded_(most_rows_ * work.row_bytes),
      state_(pooling::state_bytes(work.row_bytes / work.element_bytes)) {}

Result<void> BagPooler::run() {
  const std::uint64_t begin = position_;
  const std::uint64_t count = work_.end_of(last_bag_ - 1) - begin;
  const auto tile_of = [&](std::uint64_t i) {
    return work_.reader.stored(work_.index[begin + i] * work_.row_bytes / work_.header.tile_bytes);
  };
  Requests requests(work_.reader, count, tile_of);
  while (bag_ < last_bag_) {
    requests.keep_ahead_of(position_ - begin);
    STILLBIT_CHECK(fill_batch());
    add_batch();
  }
  return {};
}

/// Finds and expands the next rows, as many as go together, and notes which bags they belong to.
Result<void> BagPooler::fill_batch() {
  num_rows_ = 0;
  num_pieces_ = 0;
  scratch_.clear();
  bool has_room = true;
  while (has_room && bag_ < last_bag_ && num_pieces_ < kMostPieces) {
    const std::uint64_t end = work_.end_of(bag_);
    const std::uint64_t first_row = num_rows_;
    while (has_room && position_ < end) {
      STILLBIT_TRY(const bool is_taken, take_row());
      position_ += is_taken ? 1 : 0;
      has_room = is_taken && num_rows_ < most_rows_;
    }
    const bool ends = position_ == end;
    const std::uint64_t num_rows = num_rows_ - first_row;
    pieces_[num_pieces_++] = {bag_, num_rows, num_rows_of_bag_, ends};
    num_rows_of_bag_ = ends ? 0 : num_rows_of_bag_ + num_rows;
    bag_ += ends ? 1 : 0;
  }
  if (!work_.has_row_tiles()) return {};
  const std::uint64_t num_expanded = work_.decoder.codec.decode(stored_, num_rows_, expanded_.data());
  if (num_expanded != num_rows_) return corrupt_row(work_.decoder, tiles_[num_expanded]);
  return {};
}

/// Takes the next row into the batch, unless it is left out. False when it has to wait for the next batch.
Result<bool> BagPooler::take_row() {
  using Place = packing::RowReader::Place;
  const std::uint64_t row = work_.index[position_];
  if (work_.has_padding && row == work_.padding) return true;
  if (work_.has_row_tiles()) {
    const std::uint64_t tile = work_.reader.stored(row);
    const Place place = work_.reader.locate(tile, scratch_, stored_[num_rows_]);
    if (place == Place::kCorrupt) return corrupt_row(work_.decoder, tile);
    if (place == Place::kNoRoom) return false;
    tiles_[num_rows_] = tile;
  } else {
    STILLBIT_CHECK(
        parts_.expand(row * work_.row_bytes, work_.row_bytes, expanded_.data() + num_rows_ * work_.row_bytes));
  }
  if (work_.has_weights)
    std::memcpy(weights_ + num_rows_ * work_.element_bytes, work_.weights + position_ * work_.element_bytes,
                work_.element_bytes);
  ++num_rows_;
  return true;
}

void BagPooler::add_batch() {
  std::uint64_t first_row = 0;
  for (std::uint64_t i = 0; i < num_pieces_; ++i) {
    add_piece(pieces_[i], first_row);
    first_row += pieces_[i].num_rows;
  }
}

void BagPooler::add_piece(const Piece& piece, std::uint64_t first_row) {
  const std::uint64_t num_rows_so_far = piece.num_rows_before + piece.num_rows;
  const pooling::Segment segment{
      .rows = expanded_.data() + first_row * work_.row_bytes,
      .num_rows = piece.num_rows,
      .num_elements = work_.row_bytes / work_.element_bytes,
      .weights = work_.has_weights ? weights_ + first_row * work_.element_bytes : nullptr,
      .arithmetic = work_.has_padding ? pooling::Arithmetic::kSeparate : pooling::Arithmetic::kFused,
      .begins = piece.num_rows_before == 0,
      .ends = piece.ends,
      .divisor = work_.mode == PoolMode::kMean && piece.ends ? std::max<std::uint64_t>(1, num_rows_so_far) : 0,
      .state = state_.data(),
      .out = work_.out + piece.bag * work_.out_stride,
  };
  work_.mode == PoolMode::kMax ? work_.kernels.max(segment) : work_.kernels.sum(segment);
}

}  // namespace stillbit
