#pragma once

#include "api/compressed_tensor.hpp"
#include "api/expand_tiles.hpp"
#include "bags/hot_rows.hpp"
#include "core/buffer.hpp"
#include "pooling/kernels.hpp"

#include <stillbit/pool.hpp>

namespace stillbit {

/// The integers of an IndexSpan. A negative one becomes a number above any row's.
class Integers {
 public:
  explicit Integers(const IndexSpan& span) noexcept {
    if (const auto* narrow = std::get_if<std::span<const std::int32_t>>(&span)) set(*narrow);
    if (const auto* wide = std::get_if<std::span<const std::int64_t>>(&span)) set(*wide);
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  /// Whether they are of 8 bytes each; else they are of 4.
  [[nodiscard]] bool is_wide() const noexcept { return is_wide_; }
  [[nodiscard]] std::uint64_t operator[](std::uint64_t i) const noexcept {
    return static_cast<std::uint64_t>(is_wide_ ? load<std::int64_t>(data_ + 8 * i)
                                               : std::int64_t{load<std::int32_t>(data_ + 4 * i)});
  }

 private:
  template <class Integer>
  void set(std::span<const Integer> integers) noexcept {
    data_ = reinterpret_cast<const std::byte*>(integers.data());
    size_ = integers.size();
    is_wide_ = sizeof(Integer) == 8;
  }

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
        has_row_tiles(header.tile_bytes == row_bytes),
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
  /// The stored tile where a row begins.
  [[nodiscard]] std::uint64_t tile_of(std::uint64_t row) const noexcept {
    return reader.stored(has_row_tiles ? row : row * row_bytes / header.tile_bytes);
  }

  const format::PayloadHeader& header;
  packing::RowReader reader;
  Decoder decoder;
  const pooling::Kernels& kernels;
  Integers index;
  Integers offsets;
  std::uint64_t num_bags;
  std::uint64_t row_bytes;
  unsigned element_bytes;
  bool has_row_tiles;  ///< every row is a tile, which the codec expands at once
  PoolMode mode;
  const std::byte* weights;
  bool has_weights;
  bool has_padding;
  std::uint64_t padding;
  std::byte* out;
  std::uint64_t out_stride;
};

/// The bag whose rows are next.
struct OpenBag {
  std::uint64_t number;
  std::uint64_t num_rows = 0;  ///< of it, in batches before

  /// Returns the piece that its next rows of a batch are; where it ends, goes on to the next bag.
  pooling::Piece take(const PoolWork& work, std::uint64_t count, bool ends) noexcept;
};

/// Pools bags of one request, on one thread. Rows are expanded a batch at a time into memory that stays in the first
/// cache, and added from there; those to come are requested ahead, across the ends of bags.
class BagPooler {
 public:
  /// Bags from `first_bag` to `last_bag`, one at least. What `hot_rows` has of this tensor is used.
  BagPooler(const PoolWork& work, HotRows& hot_rows, std::uint64_t first_bag, std::uint64_t last_bag);

  Result<void> run();

 private:
  /// What became of a row that was to go into the batch.
  enum class Taken { kYes, kNoRoom, kCorrupt };

  /// Rows are expanded together into this many bytes, or one row.
  static constexpr std::uint64_t kExpandedBytes = std::uint64_t{8} << 10;
  static constexpr std::uint64_t kMostRows = 16;
  /// How far ahead of a batch rows are requested.
  static constexpr std::uint64_t kRowsAhead = 16;
  static constexpr std::uint64_t kMostRequested = kMostRows + kRowsAhead;
  static constexpr std::uint64_t kNotRequested = ~std::uint64_t{0};
  /// More than rows, since bags may be empty.
  static constexpr std::uint64_t kMostPieces = 2 * kMostRows;

  void request_rows();
  Result<void> fill_batch();
  Result<void> expand_batch();
  void keep_hot_rows();
  Taken take_row();
  Taken find_row(std::uint64_t row);

  const PoolWork& work_;
  HotRows& hot_rows_;
  bool uses_hot_rows_;
  OpenBag bag_;
  std::uint64_t last_bag_;
  std::uint64_t position_;       ///< of the index: the next row
  std::uint64_t end_;            ///< of the index, as far as it concerns these bags
  std::uint64_t num_requested_;  ///< positions whose rows were requested
  std::uint64_t num_tails_;      ///< and their tails
  std::uint64_t most_rows_;      ///< of a batch
  std::uint64_t num_rows_ = 0;
  std::uint64_t num_expanded_ = 0;  ///< of these, those that are expanded: others are kept so
  std::uint64_t num_kept_ = 0;      ///< those that are kept from now on
  packing::RowReader::Scratch scratch_;
  PartExpander parts_;
  Buffer expanded_;
  Buffer state_;
  pooling::Batch batch_;
  std::uint64_t requested_[kMostRequested] = {};  ///< tiles of the positions from position_ on, modulo the array's size
  std::uint64_t row_numbers_[kMostRows] = {};     ///< of the rows that are expanded
  std::uint64_t kept_[kMostRows] = {};            ///< which of these are kept
  StoredRow stored_[kMostRows];
  const std::byte* rows_[kMostRows] = {};
  pooling::Piece pieces_[kMostPieces];
  std::byte weights_[kMostRows * sizeof(double)] = {};
};

}  // namespace stillbit
