#pragma once

#include "cuda/backend.hpp"
#include "cuda/kernels.hpp"
#include "cuda/memory.hpp"
#include "cuda/pipeline.hpp"
#include "cuda/slot_writer.hpp"

#include <memory>

namespace stillbit::cuda {

/// A compressed tensor on its way to, or in, a GPU's memory: the sections where the GPU reads them, and all that its
/// kernels need, allocated once.
class DeviceTable {
 public:
  /// `compress` may be null: rows can then not be written.
  static Result<std::unique_ptr<DeviceTable>> create(const TableSource& source, const TableOptions& options,
                                                     Expand expand, Pool pool, Compress compress);

  [[nodiscard]] const TableMemory& memory() const noexcept { return memory_; }

  [[nodiscard]] std::uint64_t row_bytes() const noexcept { return table_.row_bytes; }
  [[nodiscard]] unsigned view_bytes() const noexcept { return view_bytes_; }
  [[nodiscard]] const DeviceLimits& limits() const noexcept { return limits_; }
  /// For rows that are read where they lie.
  [[nodiscard]] const Policy& policy() const noexcept {
    return memory_.placement == Placement::kDevice ? kMemoryPolicy : kLinkPolicy;
  }

  Result<void> gather(const GatherJob& job);
  /// Reads these rows from there from now on (warp::Table). Null: none.
  Result<void> set_fast_rows(const std::uint32_t* slots, const std::byte* rows, std::uint64_t num_fast_rows);

  /// What a launch needs to pool bags (pool.hpp).
  [[nodiscard]] warp::BagTable bags(const warp::BagRequest& request) const noexcept;
  [[nodiscard]] Pool pool() const noexcept { return pool_; }
  [[nodiscard]] std::byte* workspace() const noexcept { return workspace_.data(); }
  Result<void> check_memory(const void* address, const char* what, std::uint64_t alignment) const;

  Result<void> decompress(std::byte* out, cudaStream_t stream);
  Result<warp::Status> check(cudaStream_t stream);

  /// Rows of the GPU's memory, compressed behind the last row.
  Result<void> append(const std::byte* rows, std::uint64_t num_rows, cudaStream_t stream);
  /// The same, in the place of rows.
  Result<void> update(const std::int64_t* index, const std::byte* rows, std::uint64_t num_rows, cudaStream_t stream);
  /// What of the overflow area is in use. Waits for the stream.
  Result<warp::OverflowUse> overflow_use(cudaStream_t stream) const;
  /// The first bytes of both sections, to the host. Waits for the stream.
  Result<void> read_back(MutableBytes rows, MutableBytes overflow, cudaStream_t stream) const;

 private:
  DeviceTable() = default;

  Result<void> make_writer(const TableSource& source, Compress compress);
  /// Memory for rows that are too long to be expanded in shared memory.
  Result<void> make_workspace(const TableSource& source);
  /// The writer, or a fault that says why there is none, after a look at what is to be written.
  Result<SlotWriter*> writer_for(const std::byte* rows) const;
  Result<void> place(const TableSource& source, Placement placement);
  Result<void> place_pinned(const TableSource& source);
  Result<void> place_in_place(const TableSource& source);
  Result<void> place_on_device(const TableSource& source);
  /// Puts tiles of `table`, which may be a part of this one, on the stream.
  Result<void> expand(const warp::Table& table, const warp::Request& request, const Policy& policy,
                      cudaStream_t stream);
  void set_num_rows(std::uint64_t num_rows) noexcept;
  [[nodiscard]] warp::Status* status() const noexcept { return reinterpret_cast<warp::Status*>(status_.data()); }

  int device_ = 0;
  DeviceLimits limits_;
  warp::Table table_;
  unsigned view_bytes_ = 1;
  std::uint32_t tiles_per_row_ = 1;
  Expand expand_ = nullptr;
  Pool pool_ = nullptr;
  TableMemory memory_;
  // Room for what is written: at least what there is.
  std::uint64_t capacity_rows_ = 0;
  std::uint64_t rows_capacity_ = 0;
  std::uint64_t overflow_capacity_ = 0;
  std::uint64_t used_overflow_ = 0;  ///< when the table was made
  PinnedMemory pinned_rows_;
  PinnedMemory pinned_overflow_;
  DeviceMemory device_rows_;
  DeviceMemory device_overflow_;
  DeviceMemory map_;
  DeviceMemory index_;
  DeviceMemory plan_;
  DeviceMemory status_;
  DeviceMemory workspace_;
  std::vector<Piece> pieces_;  ///< for the copy engine; empty where the table is expanded where it lies
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<SlotWriter> writer_;
};

}  // namespace stillbit::cuda
