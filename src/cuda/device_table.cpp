#include "cuda/device_table.hpp"

#include "cuda/device.hpp"
#include "cuda/status.hpp"

#include <algorithm>

namespace stillbit::cuda {
namespace {

/// With less than this part of a piece, starting copies takes longer than a kernel that fetches the rows itself.
constexpr std::uint64_t kMinPieceShare = 4;

Bytes section(const std::byte* data, std::uint64_t size) {
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Result<std::unique_ptr<DeviceTable>> DeviceTable::create(const TableSource& source, const TableOptions& options,
                                                         Expand expand, Pool pool, Compress compress) {
  STILLBIT_TRY(const int num_devices, count_devices());
  std::unique_ptr<DeviceTable> made(new DeviceTable());
  made->device_ = options.device;
  if (options.device < 0) {
    STILLBIT_TRY(made->device_, current_device());
  } else if (options.device >= num_devices) {
    return invalid("GPU " + std::to_string(options.device) + " does not exist: there are " +
                   std::to_string(num_devices));
  }
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(made->device_));
  STILLBIT_TRY(made->limits_, limits_of(made->device_));
  made->table_ = source.table;
  made->view_bytes_ = source.view_bytes;
  made->tiles_per_row_ = source.tiles_per_row;
  made->expand_ = expand;
  made->pool_ = pool;
  const bool can_grow = source.table.is_slotted && options.placement != Placement::kInPlace;
  if (!can_grow && (options.capacity_rows > 0 || options.overflow_bytes > 0 || options.is_empty))
    return invalid(
        "a table with room for rows is of a slotted tensor in memory of its own: compress it with packing=\"slotted\"");
  made->capacity_rows_ = std::max(options.capacity_rows, source.table.num_rows);
  made->rows_capacity_ = can_grow ? made->capacity_rows_ * source.table.row_unit : source.table.rows_bytes;
  made->overflow_capacity_ = source.table.overflow_bytes + options.overflow_bytes;
  made->used_overflow_ = options.is_empty ? 0 : source.table.overflow_bytes;
  STILLBIT_TRY(made->map_, DeviceMemory::holding(section(source.table.map, source.map_bytes)));
  STILLBIT_TRY(made->index_, DeviceMemory::holding(section(source.table.index, source.index_bytes)));
  STILLBIT_TRY(made->plan_, DeviceMemory::holding(section(source.plan, source.plan_bytes)));
  STILLBIT_TRY(made->status_, DeviceMemory::allocate(sizeof(warp::Status)));
  STILLBIT_CUDA(cudaMemset(made->status_.data(), 0, sizeof(warp::Status)));
  made->table_.map = made->map_.data();
  made->table_.index = made->index_.data();
  STILLBIT_CHECK(made->place(source, options.placement));
  STILLBIT_CHECK(made->make_writer(source, compress));
  if (options.is_empty) made->set_num_rows(0);
  STILLBIT_CHECK(made->make_workspace(source));
  made->memory_.device = made->device_;
  made->memory_.pinned_bytes = made->pinned_rows_.size() + made->pinned_overflow_.size();
  for (const DeviceMemory* memory : {&made->device_rows_, &made->device_overflow_, &made->map_, &made->index_,
                                     &made->plan_, &made->status_, &made->workspace_})
    made->memory_.device_bytes += memory->size();
  return made;
}

Result<void> DeviceTable::make_workspace(const TableSource& source) {
  warp::BagMemory pooling;
  if (source.element) pooling.hold({.table = table_, .request = {.element = *source.element}});
  std::uint64_t workspace_bytes = 0;
  for (const Policy& policy : {kLinkPolicy, kMemoryPolicy}) {
    for (const std::uint32_t work_bytes : {0U, pooling.num_bytes()}) {
      const Launch launch =
          choose_launch(warp::stage_bytes_for(table_), ~std::uint64_t{0} >> 1, limits_, policy, work_bytes);
      workspace_bytes = std::max(workspace_bytes, launch.workspace_bytes);
    }
  }
  if (workspace_bytes > 0) {
    STILLBIT_TRY(workspace_, DeviceMemory::allocate(workspace_bytes));
  }
  return {};
}

Result<void> DeviceTable::place(const TableSource& source, Placement placement) {
  memory_.placement = placement;
  if (placement != Placement::kDevice) {
    const Result<void> placed = placement == Placement::kInPlace ? place_in_place(source) : place_pinned(source);
    if (placed.ok()) {
      if (source.table.rows_bytes < source.piece_bytes / kMinPieceShare || capacity_rows_ > source.table.num_rows)
        return {};
      STILLBIT_TRY(pieces_, cut_into_pieces(source.table, source.piece_bytes));
      return {};
    }
    memory_.note = placed.fault().message;
    if (placement == Placement::kInPlace) return place(source, Placement::kPinned);
    memory_.placement = Placement::kDevice;
  }
  Result<void> placed = place_on_device(source);
  if (!placed.ok() && !memory_.note.empty())
    return Fault{ErrorCode::kDevice, memory_.note + "; and in the GPU's memory: " + placed.fault().message};
  return placed;
}

Result<void> DeviceTable::place_pinned(const TableSource& source) {
  STILLBIT_TRY(pinned_rows_, PinnedMemory::allocate(rows_capacity_));
  STILLBIT_TRY(pinned_overflow_, PinnedMemory::allocate(overflow_capacity_));
  std::copy_n(source.table.rows, source.table.rows_bytes, pinned_rows_.data());
  std::copy_n(source.table.overflow, source.table.overflow_bytes, pinned_overflow_.data());
  table_.rows = pinned_rows_.data();
  table_.overflow = pinned_overflow_.data();
  return {};
}

Result<void> DeviceTable::place_in_place(const TableSource& source) {
  const auto address =
      reinterpret_cast<std::uintptr_t>(source.table.rows) | reinterpret_cast<std::uintptr_t>(source.table.overflow);
  if (address % 16 != 0) return Fault{ErrorCode::kDevice, "the tensor's rows are not aligned to 16 bytes"};
  // The sections of a mapped payload share pages, which can be pinned once only: they are pinned together.
  const std::byte* const begin = std::min(source.table.rows, source.table.overflow);
  const std::byte* const end =
      std::max(source.table.rows + source.table.rows_bytes, source.table.overflow + source.table.overflow_bytes);
  if (source.table.overflow_bytes == 0) {
    STILLBIT_TRY(pinned_rows_, PinnedMemory::pin(section(source.table.rows, source.table.rows_bytes)));
  } else if (static_cast<std::uint64_t>(end - begin) <= source.table.rows_bytes + source.table.overflow_bytes + 4096) {
    STILLBIT_TRY(pinned_rows_, PinnedMemory::pin({begin, static_cast<std::size_t>(end - begin)}));
  } else {
    STILLBIT_TRY(pinned_rows_, PinnedMemory::pin(section(source.table.rows, source.table.rows_bytes)));
    STILLBIT_TRY(pinned_overflow_, PinnedMemory::pin(section(source.table.overflow, source.table.overflow_bytes)));
  }
  return {};
}

Result<void> DeviceTable::place_on_device(const TableSource& source) {
  STILLBIT_TRY(device_rows_,
               DeviceMemory::holding(section(source.table.rows, source.table.rows_bytes), rows_capacity_));
  STILLBIT_TRY(device_overflow_,
               DeviceMemory::holding(section(source.table.overflow, source.table.overflow_bytes), overflow_capacity_));
  table_.rows = device_rows_.data();
  table_.overflow = device_overflow_.data();
  return {};
}

void DeviceTable::set_num_rows(std::uint64_t num_rows) noexcept {
  table_.num_rows = table_.num_tiles = table_.num_stored_tiles = num_rows;
  table_.rows_bytes = table_.present_end = num_rows * table_.row_unit;
  pieces_.clear();  // of the rows that there were
}

Result<void> DeviceTable::make_writer(const TableSource& source, Compress compress) {
  if (compress == nullptr || !table_.is_slotted || memory_.placement == Placement::kInPlace) return {};
  // Any tail that was stored lies in the area.
  table_.overflow_bytes = overflow_capacity_;
  warp::SlotTable slots;
  slots.slots = const_cast<std::byte*>(table_.rows);
  slots.overflow = const_cast<std::byte*>(table_.overflow);
  slots.overflow_capacity = overflow_capacity_;
  slots.num_rows = capacity_rows_;
  slots.stride = table_.row_unit;
  slots.row_bytes = table_.tile_bytes;
  STILLBIT_TRY(writer_, SlotWriter::create(section(source.encode_plan, source.encode_plan_bytes), view_bytes_, compress,
                                           slots, used_overflow_, limits_, policy()));
  return {};
}

Result<SlotWriter*> DeviceTable::writer_for(const std::byte* rows) const {
  if (writer_ == nullptr)
    return unsupported(
        "rows are written on the GPU where the tensor is slotted, its codec raw, ibp, window or escape, "
        "and its memory the table's own");
  STILLBIT_CHECK(check_memory(rows, "rows", 1));
  return writer_.get();
}

Result<void> DeviceTable::append(const std::byte* rows, std::uint64_t num_rows, cudaStream_t stream) {
  if (num_rows == 0 || table_.row_bytes == 0) return {};
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  STILLBIT_TRY(SlotWriter* const writer, writer_for(rows));
  if (num_rows > capacity_rows_ - table_.num_rows) {
    return invalid(std::to_string(num_rows) + " rows are too many: the table has " + std::to_string(table_.num_rows) +
                   " and room for " + std::to_string(capacity_rows_));
  }
  writer->set_num_rows(capacity_rows_);
  STILLBIT_CHECK(writer->write(rows, num_rows, table_.num_rows, status(), stream));
  set_num_rows(table_.num_rows + num_rows);
  return {};
}

Result<void> DeviceTable::update(const std::int64_t* index, const std::byte* rows, std::uint64_t num_rows,
                                 cudaStream_t stream) {
  if (num_rows == 0 || table_.row_bytes == 0) return {};
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  STILLBIT_TRY(SlotWriter* const writer, writer_for(rows));
  STILLBIT_CHECK(check_memory(index, "index", 8));
  writer->set_num_rows(table_.num_rows);
  return writer->write(rows, num_rows, index, status(), stream);
}

Result<warp::OverflowUse> DeviceTable::overflow_use(cudaStream_t stream) const {
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  if (writer_ == nullptr) return warp::OverflowUse{.used_bytes = used_overflow_};
  STILLBIT_TRY(warp::OverflowUse use, writer_->use(stream));
  use.used_bytes = std::min(use.used_bytes, overflow_capacity_);
  return use;
}

Result<void> DeviceTable::read_back(MutableBytes rows, MutableBytes overflow, cudaStream_t stream) const {
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  // Of a mapped file both were pinned together.
  const PinnedMemory& pinned_overflow = pinned_overflow_.size() > 0 ? pinned_overflow_ : pinned_rows_;
  STILLBIT_CHECK(copy_async(rows.data(), pinned_rows_, table_.rows, rows.size(), cudaMemcpyDefault, stream));
  STILLBIT_CHECK(
      copy_async(overflow.data(), pinned_overflow, table_.overflow, overflow.size(), cudaMemcpyDefault, stream));
  STILLBIT_CUDA(cudaStreamSynchronize(stream));
  return {};
}

Result<void> DeviceTable::check_memory(const void* address, const char* what, std::uint64_t alignment) const {
  STILLBIT_TRY(const MemoryKind kind, memory_kind(address, device_));
  const std::string name = what;
  if (kind == MemoryKind::kUnpinned) return invalid(name + " is in host memory that is not pinned");
  if (kind == MemoryKind::kOtherDevice)
    return invalid(name + " is on another GPU than the table, which is on GPU " + std::to_string(device_));
  if (reinterpret_cast<std::uintptr_t>(address) % alignment != 0)
    return invalid(name + " is not aligned to " + std::to_string(alignment) + " bytes");
  return {};
}

Result<void> DeviceTable::expand(const warp::Table& table, const warp::Request& request, const Policy& policy,
                                 cudaStream_t stream) {
  Expansion job;
  job.table = table;
  job.request = request;
  job.launch = choose_launch(warp::stage_bytes_for(table), request.num_items, limits_, policy);
  job.request.batch_items = job.launch.batch_items;
  job.plan = plan_.data();
  job.workspace = workspace_.data();
  job.status = status();
  return cuda::check(expand_(view_bytes_, job, stream), "the launch of a kernel");
}

Result<void> DeviceTable::gather(const GatherJob& job) {
  if (job.num_index == 0 || table_.row_bytes == 0) return {};
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  STILLBIT_CHECK(check_memory(job.index, "index", job.is_wide_index ? 8 : 4));
  STILLBIT_CHECK(check_memory(job.out, "out", 1));
  if (job.positions != nullptr) STILLBIT_CHECK(check_memory(job.positions, "positions", 8));
  Policy policy = this->policy();
  if (job.max_sms != 0) policy.max_sms = job.max_sms;
  return expand(table_,
                {.index = job.index,
                 .positions = job.positions,
                 .out = static_cast<std::byte*>(job.out),
                 .num_items = job.num_index * tiles_per_row_,
                 .tiles_per_row = tiles_per_row_,
                 .is_wide_index = job.is_wide_index},
                policy, static_cast<cudaStream_t>(job.stream));
}

Result<void> DeviceTable::set_fast_rows(const std::uint32_t* slots, const std::byte* rows,
                                        std::uint64_t num_fast_rows) {
  if (slots != nullptr) {
    if (!table_.is_slotted) return unsupported("rows lie raw beside the others where the tensor is slotted");
    STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
    STILLBIT_CHECK(check_memory(slots, "slots", 4));
    STILLBIT_CHECK(check_memory(rows, "rows", 16));
  }
  table_.fast_slots = slots;
  table_.fast_rows = rows;
  table_.num_fast_rows = num_fast_rows;
  return {};
}

warp::BagTable DeviceTable::bags(const warp::BagRequest& request) const noexcept {
  warp::BagTable made{.table = table_, .request = request, .plan = plan_.data(), .status = status()};
  made.request.tiles_per_row = tiles_per_row_;
  return made;
}

Result<void> DeviceTable::decompress(std::byte* out, cudaStream_t stream) {
  if (table_.num_tiles == 0 || table_.row_bytes == 0) return {};
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  STILLBIT_CHECK(check_memory(out, "out", 1));
  if (pieces_.empty()) {
    return expand(table_, {.out = out, .num_items = table_.num_tiles}, policy(), stream);
  }
  if (pipeline_ == nullptr) {
    STILLBIT_TRY(pipeline_, Pipeline::create(longest(pieces_)));
  }
  return pipeline_->run(pinned_rows_, table_.rows, pieces_, stream, [&](const Piece& piece, const std::byte* data) {
    warp::Table part = table_;
    part.rows = reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(data) - piece.begin);
    part.present_begin = piece.begin;
    part.present_end = piece.end;
    return expand(part, {.first_tile = piece.first_tile, .out = out, .num_items = piece.num_tiles}, kMemoryPolicy,
                  stream);
  });
}

Result<warp::Status> DeviceTable::check(cudaStream_t stream) {
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device_));
  warp::Status status;
  STILLBIT_CUDA(cudaMemcpyAsync(&status, status_.data(), sizeof status, cudaMemcpyDeviceToHost, stream));
  STILLBIT_CUDA(cudaStreamSynchronize(stream));
  if (status.fault != 0) {
    STILLBIT_CUDA(cudaMemsetAsync(status_.data(), 0, sizeof status, stream));
    STILLBIT_CUDA(cudaStreamSynchronize(stream));
  }
  return status;
}

}  // namespace stillbit::cuda
