#pragma once

#include <stillbit/pool.hpp>
#include <stillbit/statistics.hpp>
#include <stillbit/tensor.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace stillbit::cuda {

/// A CUDA stream, a `cudaStream_t`; null is the legacy default stream.
using Stream = void*;

/// The number of GPUs that can be used: 0 where there is none, and `why_not` then says why.
[[nodiscard]] int num_devices(std::string* why_not = nullptr);

/// Counts on the GPU, for rows in its memory, or pinned: num_rows × row_bytes bytes, row_bytes at most
/// kMaxCountedRowBytes. Waits for the stream.
[[nodiscard]] BitStatistics count(const void* rows, std::uint64_t num_rows, std::uint64_t row_bytes, Stream stream);

/// Where a table's compressed rows lie.
enum class Placement : std::uint8_t {
  kPinned,   ///< in pinned host memory of the table's own: the GPU fetches rows over the link
  kInPlace,  ///< where the tensor has them, in memory or a mapped file, which is pinned: no second copy
  kDevice,   ///< in the GPU's memory
};

struct TableOptions {
  Placement placement = Placement::kPinned;
  /// The GPU's number; −1 is the calling thread's current one.
  int device = -1;
  /// Room for `append`, in tables of slotted tensors in memory of their own: for so many rows in all, and for the tails
  /// of rows that do not fit their slots, besides those that there are.
  std::uint64_t capacity_rows = 0;
  std::uint64_t overflow_bytes = 0;
  /// The table starts without rows: the tensor, of a sample of them, only says how they are compressed.
  bool is_empty = false;
};

/// What a table takes, and where.
struct TableMemory {
  Placement placement = Placement::kPinned;  ///< what was asked for, or what there was in its place
  int device = 0;
  std::uint64_t pinned_bytes = 0;
  std::uint64_t device_bytes = 0;
  std::string note;  ///< why the placement is not the one that was asked for; empty if it is
};

/// How a gather is done.
struct GatherOptions {
  /// Row i of the result goes to row positions[i] of `out`; in the GPU's memory, and not checked. Null: to row i.
  const std::int64_t* positions = nullptr;
  /// Streaming multiprocessors that the gather may take; 0: as few as saturate the link, or all where rows are in the
  /// GPU's memory.
  std::uint32_t max_sms = 0;
};

/// Integers of either width that indices have, in the GPU's memory, or pinned; not owned.
struct Integers {
  Integers() = default;
  Integers(const std::int32_t* numbers, std::uint64_t count) : data(numbers), size(count), is_wide(false) {}
  Integers(const std::int64_t* numbers, std::uint64_t count) : data(numbers), size(count) {}

  const void* data = nullptr;
  std::uint64_t size = 0;
  bool is_wide = true;  ///< 64 bits
};

/// Bags of rows of one table: as `stillbit::Bags`, in memory that the GPU reads.
struct Bags {
  Integers index;    ///< below 2^32 of them
  Integers offsets;  ///< where each bag begins; the last one ends with the index
  /// One more offset says where the last bag ends.
  bool has_last_offset = false;
  PoolMode mode = PoolMode::kSum;
  /// A factor for each number of the index, of the tensor's dtype, or null. kSum only.
  const void* weights = nullptr;
  /// Rows with this number are left out, also of what a mean is divided by.
  std::optional<std::uint64_t> padding_index;

  [[nodiscard]] std::uint64_t num_bags() const noexcept {
    return has_last_offset && offsets.size > 0 ? offsets.size - 1 : offsets.size;
  }
};

/// A compressed tensor as it was when the table was made, to be expanded on a GPU, and changed there.
///
/// Calls put work on a stream and return: no memory is allocated, nothing waits, and a call can be captured in a CUDA
/// graph. What goes wrong on the GPU (an index out of range, a malformed row) is kept until `check`; rows that are well
/// are written all the same. Calls throw `stillbit::Error`. Not for several threads at once. Several streams may be
/// used, but for `decompress`, and for rows of more than some 10 KB, which are expanded in memory that all calls share.
class Table {
 public:
  explicit Table(const CompressedTensor& tensor, const TableOptions& options = {});
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;
  ~Table();

  [[nodiscard]] std::uint64_t num_rows() const noexcept;
  [[nodiscard]] std::uint64_t row_bytes() const noexcept;
  [[nodiscard]] const TableMemory& memory() const noexcept;

  /// Expands rows index[0], index[1] … into `out`, back to back: num_index × row_bytes() bytes. `index` and `out` are
  /// in the GPU's memory, or in pinned memory.
  void gather(const std::int64_t* index, std::uint64_t num_index, void* out, Stream stream,
              const GatherOptions& options = {}) const;
  void gather(const std::int32_t* index, std::uint64_t num_index, void* out, Stream stream,
              const GatherOptions& options = {}) const;

  /// Gathers and pools read some rows raw, from nearer memory, from now on: row r, where slots[r] is not 0, at rows +
  /// (slots[r] − 1) × row_bytes(). Both are in the GPU's memory, which is the caller's, who may change them by what
  /// stands on the stream between calls; slots above `num_fast_rows` count as 0. There is a slot for each row of the
  /// table; `rows` is aligned to 16, and 16 bytes behind its end are readable. Rows that `update` changes must have no
  /// slot. Null: none. For slotted tensors.
  void set_fast_rows(const std::uint32_t* slots, const void* rows, std::uint64_t num_fast_rows);

  /// Expands the rows of bags and pools them into `out`, back to back: bags.num_bags() × row_bytes() bytes. See `pool`,
  /// which does so for several tables at once.
  void pool(const Bags& bags, void* out, Stream stream, std::uint32_t max_sms = 0) const;

  /// Expands the whole tensor into `out`. A large one in host memory is moved in pieces by the copy engine, while the
  /// pieces before are expanded; the first such call allocates two buffers for them.
  void decompress(void* out, Stream stream) const;

  /// Compresses rows on the GPU, behind the last row: num_rows × row_bytes() bytes in its memory, or pinned. For codecs
  /// raw, ibp, window and escape. A row whose tail finds no room in the overflow area is not written, which `check`
  /// reports.
  void append(const void* rows, std::uint64_t num_rows, Stream stream);

  /// Replaces rows index[0], index[1] … in the same way; of a row that is named twice the last is kept, and if one is
  /// out of range none is written. Allocates where no call before had as many rows.
  void update(const std::int64_t* index, const void* rows, std::uint64_t num_rows, Stream stream);

  /// The table as it is now, as a tensor in the host's memory. Waits for the stream.
  [[nodiscard]] CompressedTensor tensor(Stream stream) const;

  /// Waits for the stream, and throws if a call since the last check met something wrong, of which it names the first
  /// that was found: kOutOfRange for an index, kCorrupt for a row, kInvalidArgument for offsets, and where the overflow
  /// area is full.
  void check(Stream stream) const;

  struct Impl;
  [[nodiscard]] const Impl& impl() const noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Bags, the table that they are of, and where their results go.
struct PoolRequest {
  const Table* table = nullptr;
  Bags bags;
  void* out = nullptr;           ///< the result of bag 0: row_bytes() bytes, of the tensor's dtype
  std::uint64_t out_stride = 0;  ///< from the result of a bag to that of the next, in bytes: row_bytes() or more
};

/// Expands rows and pools them, without writing rows to the GPU's memory: of all tables whose codec, word size and
/// placement are the same in one launch. Tables on one GPU, of f16, bf16, f32 and f64.
///
/// The results are those of `stillbit::pool`, to the last bit: a warp has a bag, and adds its rows in the order of the
/// index. As the calls of a table this one allocates nothing on the GPU, and waits for nothing. A bag with a row that
/// is not there, or malformed, and bags around offsets that decrease or go beyond the index, are not written; `check`
/// of their table says so. `max_sms` as in GatherOptions.
void pool(std::span<const PoolRequest> requests, Stream stream, std::uint32_t max_sms = 0);

}  // namespace stillbit::cuda
