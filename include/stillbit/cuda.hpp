#pragma once

#include <stillbit/statistics.hpp>
#include <stillbit/tensor.hpp>

#include <cstdint>
#include <memory>
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
  /// that was found: kOutOfRange for an index, kCorrupt for a row, kInvalidArgument where the overflow area is full.
  void check(Stream stream) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stillbit::cuda
