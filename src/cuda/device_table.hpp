#pragma once

#include "cuda/backend.hpp"
#include "cuda/kernels.hpp"
#include "cuda/memory.hpp"
#include "cuda/pipeline.hpp"

#include <memory>

namespace stillbit::cuda {

/// A compressed tensor on its way to, or in, a GPU's memory: the sections where the GPU reads them, and all that its
/// kernels need, allocated once.
class DeviceTable {
 public:
  static Result<std::unique_ptr<DeviceTable>> create(const TableSource& source, const TableOptions& options,
                                                     Expand expand);

  [[nodiscard]] const TableMemory& memory() const noexcept { return memory_; }

  Result<void> gather(const GatherJob& job);
  Result<void> decompress(std::byte* out, cudaStream_t stream);
  Result<warp::Status> check(cudaStream_t stream);

 private:
  DeviceTable() = default;

  Result<void> place(const TableSource& source, Placement placement);
  Result<void> place_pinned(const TableSource& source);
  Result<void> place_in_place(const TableSource& source);
  Result<void> place_on_device(const TableSource& source);
  /// Puts tiles of `table`, which may be a part of this one, on the stream.
  Result<void> expand(const warp::Table& table, const warp::Request& request, const Policy& policy,
                      cudaStream_t stream);
  Result<void> check_memory(const void* address, const char* what, std::uint64_t alignment) const;

  int device_ = 0;
  DeviceLimits limits_;
  warp::Table table_;
  Codec codec_ = Codec::kRaw;
  unsigned view_bytes_ = 1;
  std::uint32_t tiles_per_row_ = 1;
  Expand expand_ = nullptr;
  TableMemory memory_;
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
};

}  // namespace stillbit::cuda
