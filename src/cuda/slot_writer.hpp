#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "cuda/kernels.hpp"
#include "cuda/memory.hpp"

#include <memory>

namespace stillbit::cuda {

/// Compresses rows on a GPU into the slots of a table (warp/compress.hpp): what that takes besides the table.
class SlotWriter {
 public:
  /// On the current GPU. `slots.use` is for the writer to fill in; `used_bytes` of the overflow area are in use.
  static Result<std::unique_ptr<SlotWriter>> create(Bytes plan, unsigned view_bytes, Compress compress,
                                                    const warp::SlotTable& slots, std::uint64_t used_bytes,
                                                    const DeviceLimits& limits, const Policy& policy);

  /// Slots that may be written: 0 to the table's capacity.
  void set_num_rows(std::uint64_t num_rows) noexcept { slots_.num_rows = num_rows; }

  /// Rows first_row, first_row + 1 …
  Result<void> write(const std::byte* rows, std::uint64_t num_rows, std::uint64_t first_row, warp::Status* status,
                     cudaStream_t stream);

  /// Rows index[0], index[1] …, which hold rows already; of one that is named twice the last is kept. Allocates where
  /// no update before had as many rows.
  Result<void> write(const std::byte* rows, std::uint64_t num_rows, const std::int64_t* index, warp::Status* status,
                     cudaStream_t stream);

  /// Waits for the stream.
  Result<warp::OverflowUse> use(cudaStream_t stream) const;

  [[nodiscard]] std::uint64_t device_bytes() const noexcept;

 private:
  SlotWriter() = default;
  [[nodiscard]] Compression job(const warp::CompressRequest& request, warp::Status* status) const;

  unsigned view_bytes_ = 1;
  Compress compress_ = nullptr;
  warp::SlotTable slots_;
  DeviceLimits limits_;
  Policy policy_;
  DeviceMemory plan_;
  DeviceMemory use_;
  DeviceMemory cells_;
  DeviceMemory workspace_;
};

}  // namespace stillbit::cuda
