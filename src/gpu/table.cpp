#include "gpu/table.hpp"

#include "api/compressed_tensor.hpp"
#include "gpu/library.hpp"
#include "gpu/warp_table.hpp"

#include <stillbit/cuda.hpp>

#include <utility>

namespace stillbit::cuda {

int num_devices(std::string* why_not) {
  const auto backend = cuda_backend();
  int count = 0;
  Failure failure;
  if (!backend.ok()) {
    if (why_not != nullptr) *why_not = backend.fault().message;
  } else if (!backend.value()->count_devices(&count, &failure)) {
    count = 0;
    if (why_not != nullptr) *why_not = failure.message;
  }
  return count;
}

BitStatistics count(const void* rows, std::uint64_t num_rows, std::uint64_t row_bytes, Stream stream) {
  if (row_bytes == 0 || row_bytes > kMaxCountedRowBytes)
    throw Error(ErrorCode::kInvalidArgument, "rows of " + std::to_string(row_bytes) + " bytes are not counted whole");
  std::vector<std::uint64_t> ones(8 * row_bytes);
  Failure failure;
  if (num_rows > 0 && !unwrap(cuda_backend())->count_bits(rows, num_rows, row_bytes, ones.data(), stream, &failure))
    fail(failure);
  return {num_rows, std::move(ones)};
}

Table::Table(const CompressedTensor& tensor, const TableOptions& options) {
  const Backend& backend = *unwrap(cuda_backend());
  const CompressedTensor::Impl& source = tensor.impl();
  const format::Payload sections = source.sections();
  const warp::PlanBytes plan = source.codec->warp_plan();
  TableSource job;
  job.table = unwrap(warp_table(source.header));
  job.table.map = sections.map.data();
  job.table.index = sections.index.data();
  job.table.rows = sections.rows.data();
  job.table.overflow = sections.overflow.data();
  job.map_bytes = sections.map.size();
  job.index_bytes = sections.index.size();
  job.codec = tensor.codec();
  job.view_bytes = plan.view_bytes;
  job.tiles_per_row = tiles_per_row(job.table);
  job.plan = plan.bytes.data();
  job.plan_bytes = plan.bytes.size();
  const warp::PlanBytes encode_plan = source.codec->warp_encode_plan();
  job.encode_plan = encode_plan.bytes.data();
  job.encode_plan_bytes = encode_plan.bytes.size();
  job.element = warp_element(source.header.dtype);
  Failure failure;
  DeviceTable* const made = backend.create(job, options, &failure);
  if (made == nullptr) fail(failure);
  impl_ = std::make_unique<Impl>(backend, made, source, options.is_empty ? 0 : tensor.num_rows());
}

Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;
Table::~Table() = default;

std::uint64_t Table::num_rows() const noexcept {
  return impl_->num_rows;
}

std::uint64_t Table::row_bytes() const noexcept {
  return impl_->header.geometry.row_bytes;
}

const TableMemory& Table::memory() const noexcept {
  return impl_->memory;
}

void Table::gather(const std::int64_t* index, std::uint64_t num_index, void* out, Stream stream,
                   const GatherOptions& options) const {
  impl_->gather(index, num_index, out, stream, options);
}

void Table::gather(const std::int32_t* index, std::uint64_t num_index, void* out, Stream stream,
                   const GatherOptions& options) const {
  impl_->gather(index, num_index, out, stream, options);
}

void Table::decompress(void* out, Stream stream) const {
  Failure failure;
  if (!impl_->backend.decompress(impl_->table, out, stream, &failure)) fail(failure);
}

void Table::append(const void* rows, std::uint64_t num_rows, Stream stream) {
  if (impl_->header.row_dims + 1U != impl_->header.shape.size())
    throw Error(ErrorCode::kInvalidArgument, "append adds to the first dimension, which must count the rows");
  Failure failure;
  if (!impl_->backend.append(impl_->table, rows, num_rows, stream, &failure)) fail(failure);
  impl_->num_rows += num_rows;
}

void Table::update(const std::int64_t* index, const void* rows, std::uint64_t num_rows, Stream stream) {
  Failure failure;
  if (!impl_->backend.update(impl_->table, index, rows, num_rows, stream, &failure)) fail(failure);
}

CompressedTensor Table::tensor(Stream stream) const {
  Failure failure;
  warp::OverflowUse use;
  if (!impl_->backend.overflow_use(impl_->table, stream, &use, &failure)) fail(failure);
  auto made = std::make_unique<CompressedTensor::Impl>();
  made->header = impl_->header;
  made->codec = impl_->codec;
  made->is_unchanged = false;
  made->unused_overflow_bytes = use.unused_bytes;
  format::PayloadHeader& header = made->header;
  if (header.packing != Packing::kSlotted)
    throw Error(ErrorCode::kUnsupported, "a packed table is the tensor that it was made from");
  if (header.row_dims < header.shape.size() && header.geometry.num_rows != impl_->num_rows)
    header.shape[0] = impl_->num_rows;
  header.geometry = unwrap(row_geometry(header.dtype, header.shape, header.row_dims));
  header.rows_bytes = impl_->num_rows * header.row_unit;
  header.overflow_bytes = use.used_bytes;
  made->rows = Buffer(header.rows_bytes);
  made->overflow = Buffer(header.overflow_bytes);
  if (!impl_->backend.read_back(impl_->table, made->rows.data(), header.rows_bytes, made->overflow.data(),
                                header.overflow_bytes, stream, &failure))
    fail(failure);
  return CompressedTensor(std::move(made));
}

void Table::check(Stream stream) const {
  Failure failure;
  warp::Status status;
  if (!impl_->backend.check(impl_->table, stream, &status, &failure)) fail(failure);
  const std::string where = std::to_string(status.where);
  switch (static_cast<warp::Fault>(status.fault)) {
    case warp::Fault::kNone:
      return;
    case warp::Fault::kIndexOutOfRange:
      throw Error(ErrorCode::kOutOfRange, "the index at position " + where + " is out of range: the tensor has " +
                                              std::to_string(impl_->num_rows) + " rows");
    case warp::Fault::kBadOffset:
      throw Error(ErrorCode::kInvalidArgument,
                  "the offset of bag " + where + " is below the one before, or beyond the index");
    case warp::Fault::kNoSpace:
      throw Error(ErrorCode::kInvalidArgument,
                  "row " + where + " found no room in the overflow area: make the table with more overflow_bytes");
    default:
      throw Error(ErrorCode::kCorrupt, "stored row " + where + " is malformed");
  }
}

}  // namespace stillbit::cuda
