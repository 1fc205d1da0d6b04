#pragma once

#include "bags/bag_pooler.hpp"
#include "pooling/slots.hpp"

namespace stillbit {

/// Pools bags of one request, on one thread, whose rows lie in slots and are added as they are expanded. Batches of
/// rows are laid out ahead, across the ends of bags: while one is added, the slots of the one but two are requested,
/// and what the next one has in the overflow area.
class SlotPooler {
 public:
  /// Whether a request's bags are pooled so: sums and means of rows without weights, of a codec that can.
  static bool can_pool(const PoolWork& work);

  /// Bags from `first_bag` to `last_bag`, one at least. What `hot_rows` has of this tensor is used.
  SlotPooler(const PoolWork& work, HotRows& hot_rows, std::uint64_t first_bag, std::uint64_t last_bag);

  Result<void> run();

 private:
  static constexpr std::uint64_t kMostRows = pooling::SlotBatch::kMostRows;
  /// More than rows, since bags may be empty.
  static constexpr std::uint64_t kMostPieces = 2 * kMostRows;
  static constexpr std::uint64_t kBatchesAhead = 3;
  /// Of expanded rows, a batch is no more than this, if that is a few rows.
  static constexpr std::uint64_t kBatchBytes = std::uint64_t{8} << 10;
  static constexpr std::uint64_t kFewRows = 8;

  /// Rows that are added by one call, and the bags that they belong to.
  struct Rows {
    std::uint64_t num_rows = 0;
    std::uint64_t num_pieces = 0;
    std::uint64_t tails = 0;  ///< bit i: slots[i] does not hold its row
    const std::byte* slots[kMostRows];
    std::uint64_t tiles[kMostRows];
    pooling::Piece pieces[kMostPieces];
  };

  [[nodiscard]] Rows& rows_ahead(std::uint64_t count) noexcept { return rows_[(now_ + count) % (kBatchesAhead + 1)]; }
  void fill(Rows& rows);
  void take_rows(Rows& rows, std::uint64_t end);
  template <class Integer>
  void take_plain_rows(Rows& rows, std::uint64_t count);
  void take_any_rows(Rows& rows, std::uint64_t end);
  void find_tails(Rows& rows) const;
  Result<void> expand_tails(Rows& rows);
  Result<void> expand_row(std::uint64_t tile, std::byte* dst);
  Result<void> add(const Rows& rows, const Rows& coming);

  const PoolWork& work_;
  HotRows& hot_rows_;  ///< of rows that have a tail: to expand one takes as long as several others
  packing::RowReader::Slots slots_;
  OpenBag bag_;
  std::uint64_t last_bag_;
  std::uint64_t position_;   ///< of the index: the next row
  bool is_plain_;            ///< every row is taken, and is its own tile
  std::uint64_t most_rows_;  ///< of a batch
  std::uint64_t now_ = 0;    ///< the number of the batch that is next
  packing::RowReader::Scratch scratch_;
  Buffer no_slot_;   ///< stands for a row that has no whole slot: it is expanded apart
  Buffer expanded_;  ///< rows of a batch that are expanded apart
  Buffer state_;
  pooling::SlotBatch batch_;
  Rows rows_[kBatchesAhead + 1];
};

}  // namespace stillbit
