#pragma once

#include "api/compressed_tensor.hpp"
#include "api/expand_tiles.hpp"
#include "core/buffer.hpp"
#include "pooling/kernels.hpp"

#include <stillbit/pool.hpp>

namespace stillbit {

/// The integers of an IndexSpan. A negative one becomes a number above any row's.
class Integers {
 public:
  explicit Integers(const IndexSpan& span) {
    std::visit(
        [this](const auto& integers) {
          data_ = reinterpret_cast<const std::byte*>(integers.data());
          size_ = integers.size();
          is_wide_ = sizeof(integers[0]) == 8;
        },
        span);
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t operator[](std::uint64_t i) const noexcept {
    return static_cast<std::uint64_t>(is_wide_ ? load<std::int64_t>(data_ + 8 * i)
                                               : std::int64_t{load<std::int32_t>(data_ + 4 * i)});
  }

 private:
  const std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  bool is_wide_ = false;
};

/// A request that was checked, as the loops over it want it.
struct PoolWork {
  explicit PoolWork(const PoolRequest& request)
      : header(request.tensor->impl().header),
        reader(request.tensor->impl().reader()),
        decoder{header, *request.tensor->impl().codec, reader},
        kernels(*pooling::kernels(header.dtype)),
        index(request.bags.index),
        offsets(request.bags.offsets),
        num_bags(request.bags.num_bags()),
        row_bytes(header.geometry.row_bytes),
        element_bytes(num_bytes(header.dtype)),
        mode(request.bags.mode),
        weights(request.bags.weights ? request.bags.weights->data() : nullptr),
        has_weights(request.bags.weights.has_value()),
        has_padding(request.bags.padding_index.has_value()),
        padding(request.bags.padding_index.value_or(0)),
        out(request.out),
        out_stride(request.out_stride) {}
  PoolWork(const PoolWork&) = delete;
  PoolWork& operator=(const PoolWork&) = delete;

  [[nodiscard]] std::uint64_t begin_of(std::uint64_t bag) const noexcept { return offsets[bag]; }
  [[nodiscard]] std::uint64_t end_of(std::uint64_t bag) const noexcept {
    return bag + 1 < offsets.size() ? offsets[bag + 1] : index.size();
  }
  /// Every row is a tile, which the codec expands at once.
  [[nodiscard]] bool has_row_tiles() const noexcept { return header.tile_bytes == row_bytes; }

  const format::PayloadHeader& header;
  packing::RowReader reader;
  Decoder decoder;
  const pooling::Kernels& kernels;
  Integers index;
  Integers offsets;
  std::uint64_t num_bags;
  std::uint64_t row_bytes;
  unsigned element_bytes;
  PoolMode mode;
  const std::byte* weights;
  bool has_weights;
  bool has_padding;
  std::uint64_t padding;
  std::byte* out;
  std::uint64_t out_stride;
};

/// Pools bags of one request, on one thread. Rows are expanded a batch at a time into memory that stays in the first
/// cache, and added from there; those to come are requested ahead, across the ends of bags.
class BagPooler {
 public:
  /// Bags from `first_bag` to `last_bag`, one at least.
  BagPooler(const PoolWork& work, std::uint64_t first_bag, std::uint64_t last_bag);

  Result<void> run();

 private:
  /// Rows of a batch that belong to one bag; none where the bag is empty, or only its end was missing.
  struct Piece {
    std::uint64_t bag;
    std::uint64_t num_rows;
    std::uint64_t num_rows_before;  ///< of the bag, in batches before this one
    bool ends;
  };

  /// Rows are expanded together into this many bytes, or one row.
  static constexpr std::uint64_t kExpandedBytes = std::uint64_t{16} << 10;
  /// More than rows, since bags may be empty.
  static constexpr std::uint64_t kMostPieces = 2 * kBatchRows;

  Result<void> fill_batch();
  Result<bool> take_row();
  void add_batch();
  void add_piece(const Piece& piece, std::uint64_t first_row);

  const PoolWork& work_;
  std::uint64_t bag_;
  std::uint64_t last_bag_;
  std::uint64_t position_;             ///< of the index: the next row
  std::uint64_t num_rows_of_bag_ = 0;  ///< of bag_, taken so far
  std::uint64_t most_rows_;            ///< of a batch
  std::uint64_t num_rows_ = 0;
  std::uint64_t num_pieces_ = 0;
  packing::RowReader::Scratch scratch_;
  PartExpander parts_;
  Buffer expanded_;
  Buffer state_;
  std::uint64_t tiles_[kBatchRows] = {};
  StoredRow stored_[kBatchRows];
  Piece pieces_[kMostPieces] = {};
  std::byte weights_[kBatchRows * sizeof(double)] = {};
};

}  // namespace stillbit
