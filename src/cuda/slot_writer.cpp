#include "cuda/slot_writer.hpp"

#include "cuda/status.hpp"

#include <string>

namespace stillbit::cuda {

Result<std::unique_ptr<SlotWriter>> SlotWriter::create(Bytes plan, unsigned view_bytes, Compress compress,
                                                       const warp::SlotTable& slots, std::uint64_t used_bytes,
                                                       const DeviceLimits& limits, const Policy& policy) {
  std::unique_ptr<SlotWriter> writer(new SlotWriter());
  writer->view_bytes_ = view_bytes;
  writer->compress_ = compress;
  writer->slots_ = slots;
  writer->limits_ = limits;
  writer->policy_ = policy;
  const warp::OverflowUse use{.used_bytes = used_bytes};
  STILLBIT_TRY(writer->plan_, DeviceMemory::holding(plan));
  STILLBIT_TRY(writer->use_, DeviceMemory::holding({reinterpret_cast<const std::byte*>(&use), sizeof use}));
  writer->slots_.use = reinterpret_cast<warp::OverflowUse*>(writer->use_.data());
  const Launch largest =
      choose_launch(warp::compress_stage_bytes(slots.row_bytes), ~std::uint64_t{0} >> 1, limits, policy);
  if (largest.workspace_bytes > 0) {
    STILLBIT_TRY(writer->workspace_, DeviceMemory::allocate(largest.workspace_bytes));
  }
  return writer;
}

Compression SlotWriter::job(const warp::CompressRequest& request, warp::Status* status) const {
  Compression job;
  job.table = slots_;
  job.request = request;
  job.launch = choose_launch(warp::compress_stage_bytes(slots_.row_bytes), request.num_rows, limits_, policy_);
  job.request.batch_rows = job.launch.batch_items;
  job.plan = plan_.data();
  job.workspace = workspace_.data();
  job.status = status;
  return job;
}

Result<void> SlotWriter::write(const std::byte* rows, std::uint64_t num_rows, std::uint64_t first_row,
                               warp::Status* status, cudaStream_t stream) {
  const Compression compression = job({.src = rows, .first_row = first_row, .num_rows = num_rows}, status);
  return check(compress_(view_bytes_, compression, stream), "the launch of a kernel");
}

Result<void> SlotWriter::write(const std::byte* rows, std::uint64_t num_rows, const std::int64_t* index,
                               warp::Status* status, cudaStream_t stream) {
  if (num_rows > warp::kMaxPositions)
    return invalid("an update of " + std::to_string(num_rows) + " rows: make it several of at most " +
                   std::to_string(warp::kMaxPositions));
  const std::uint32_t num_cells = warp::num_cells_for(num_rows);
  const std::uint64_t cells_bytes = std::uint64_t{num_cells} * sizeof(std::uint32_t);
  if (cells_.size() < cells_bytes) {
    STILLBIT_TRY(cells_, DeviceMemory::allocate(cells_bytes));
  }
  STILLBIT_CUDA(cudaMemsetAsync(cells_.data(), 0, cells_bytes, stream));
  const Compression compression = job({.src = rows,
                                       .index = index,
                                       .num_rows = num_rows,
                                       .last_writers = {reinterpret_cast<std::uint32_t*>(cells_.data()), num_cells},
                                       .has_old_rows = true},
                                      status);
  STILLBIT_CHECK(check(find_last_writers(compression, limits_, stream), "the launch of a kernel"));
  return check(compress_(view_bytes_, compression, stream), "the launch of a kernel");
}

Result<warp::OverflowUse> SlotWriter::use(cudaStream_t stream) const {
  warp::OverflowUse use;
  STILLBIT_CUDA(cudaMemcpyAsync(&use, use_.data(), sizeof use, cudaMemcpyDeviceToHost, stream));
  STILLBIT_CUDA(cudaStreamSynchronize(stream));
  return use;
}

std::uint64_t SlotWriter::device_bytes() const noexcept {
  return plan_.size() + use_.size() + cells_.size() + workspace_.size();
}

}  // namespace stillbit::cuda
