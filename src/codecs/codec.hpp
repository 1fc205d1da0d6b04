#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "core/shape.hpp"
#include "pooling/slots.hpp"
#include "warp/plan_bytes.hpp"

#include <stillbit/options.hpp>
#include <stillbit/statistics.hpp>

#include <memory>
#include <vector>

namespace stillbit {

/// A stored row, where it lies in memory.
struct StoredRow {
  const std::byte* data = nullptr;
  std::uint64_t num_bytes = 0;  ///< an upper bound when the row is encoded: it may be followed by bytes without meaning
  bool is_raw = false;
};

/// What the bits of encoded rows are for; what is left of a row is padding.
struct RowAccount {
  std::uint64_t marks = 0;       ///< which elements follow the plan
  std::uint64_t positions = 0;   ///< where elements are
  std::uint64_t codes = 0;       ///< codes, and offsets from a base
  std::uint64_t values = 0;      ///< bits as they are
  std::uint64_t exceptions = 0;  ///< what elements take that do not follow the plan, or have a longer code

  /// Of the last row: bits that each word of the codec's view took, with its share of what the row has in common.
  std::vector<float> word_bits;

  [[nodiscard]] std::uint64_t num_bits() const noexcept { return marks + positions + codes + values + exceptions; }
};

/// A codec with its plan: validated, immutable, used by many threads at once. Turns rows into stored rows and back.
///
/// A row, here and in all codecs, is what is encoded as one: a row of the tensor, or a tile of several short ones.
///
/// `measure`, `encode` and `decode` may throw std::bad_alloc the first time one of them is called, and not after that.
///
/// A row that would not become smaller is stored raw: its stored size is row_bytes, and every encoded row is shorter.
class RowCodec {
 public:
  /// Bytes behind a row that kernels may read, and behind an output that they may write.
  static constexpr std::uint64_t kSlack = 64;

  /// Rows that are gathered in no order come in calls of at most so many, and were requested ahead. In calls of more
  /// they mostly follow each other.
  static constexpr std::uint64_t kGatheredRows = 16;

  virtual ~RowCodec() = default;

  [[nodiscard]] virtual Codec codec() const noexcept = 0;

  /// The plan's bytes, as the format has them.
  [[nodiscard]] virtual const std::vector<std::byte>& plan() const noexcept = 0;

  /// The plan as warps read it.
  [[nodiscard]] virtual warp::PlanBytes warp_plan() const = 0;

  /// The plan as warps encode with it, read at an address that is a multiple of 16; without bytes where they do not.
  [[nodiscard]] virtual warp::PlanBytes warp_encode_plan() const { return {}; }

  /// What every stored row has at least.
  [[nodiscard]] virtual std::uint64_t minimum_row_bytes() const noexcept = 0;

  /// The stored size of each of `num_rows` rows that lie back to back.
  virtual void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const = 0;

  /// Stores one row at `dst`, where row_bytes + kSlack bytes are writable. Returns its stored size.
  virtual std::uint64_t encode(const std::byte* row, std::byte* dst) const = 0;

  /// Expands encoded rows to `dst`, back to back. kSlack bytes behind each row must be readable.
  /// Returns how many were expanded before the first malformed one: `num_rows` when all are well.
  virtual std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const = 0;

  /// The same, to memory that is too large for the caches: a codec may write past them. An ordinary store first reads
  /// the line that it writes to, a third of what then crosses the memory bus. Such stores are ordered before what
  /// follows the call.
  virtual std::uint64_t decode_past_caches(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const {
    return decode(rows, num_rows, dst);
  }

  /// Whether rows of this dtype, in slots of so many bytes, are best added as they are expanded: by `sum_slots`.
  [[nodiscard]] virtual bool sums_slots(DType dtype, std::uint64_t slot_bytes) const noexcept {
    static_cast<void>(dtype);
    static_cast<void>(slot_bytes);
    return false;
  }

  /// As pooling::Kernels::sum, of rows without weights. Returns how many rows are well before the first malformed one;
  /// what is written has a meaning when all are. Precondition: `sums_slots`.
  [[nodiscard]] virtual std::uint64_t sum_slots(DType dtype, const pooling::SlotBatch& batch) const {
    static_cast<void>(dtype);
    static_cast<void>(batch);
    return 0;
  }

  /// Adds what the bits of an encoded row are for, to show where they go. It takes a row apart bit by bit, far more
  /// slowly than `decode`. Precondition: `decode` expands the row.
  virtual void account(const StoredRow& row, RowAccount& account) const = 0;
};

/// RowCodec::decode_past_caches of a codec that writes to a row in no order: rows are decoded where they fit into the
/// first-level cache, and copied from there.
std::uint64_t decode_staged(const RowCodec& codec, std::uint64_t row_bytes, const StoredRow* rows,
                            std::uint64_t num_rows, std::byte* dst);

/// What a codec may look at when it makes a plan.
struct PlanInput {
  RowGeometry geometry;  ///< rows as the codec will see them
  unsigned element_bytes = 1;
  /// After so many bytes the columns of the tensor repeat: its row, where a tile is made of whole rows; one element
  /// where rows are so long that they are cut into tiles, whose columns then have nothing in common. Divides row_bytes.
  std::uint64_t period_bytes = 1;
  const BitStatistics& statistics;  ///< of all rows of the tensor, or of parts of them where they are very long
  Bytes sample;                     ///< whole rows, back to back, spread over the tensor
  bool is_whole = false;            ///< the sample is the tensor
  /// What other codecs were found to take: a plan that must take more need not be made.
  std::uint64_t enough_bytes = ~std::uint64_t{0};
};

/// Bytes that the plan and the rows of a codec take when the whole tensor is as the sample is.
[[nodiscard]] std::uint64_t estimated_bytes(const RowCodec& codec, const PlanInput& input);

/// Makes a codec with the plan that it estimates to be the smallest; null when none can make the tensor smaller.
using PlanCodec = std::unique_ptr<RowCodec> (*)(const PlanInput& input);

/// Validates a plan's bytes.
using OpenCodec = Result<std::unique_ptr<RowCodec>> (*)(Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit
