#include "api/compressed_tensor.hpp"
#include "api/cuda_library.hpp"
#include "api/warp_table.hpp"

#include <stillbit/cuda.hpp>

#include <utility>

namespace stillbit::cuda {
namespace {

[[noreturn]] void fail(const Failure& failure) {
  throw Error(failure.code, failure.message);
}

}  // namespace

struct Table::Impl {
  const Backend& backend;
  DeviceTable* table;
  TableMemory memory;
  std::uint64_t num_rows;
  std::uint64_t row_bytes;

  Impl(const Backend& loaded, DeviceTable* made, std::uint64_t rows, std::uint64_t bytes)
      : backend(loaded), table(made), memory(loaded.memory(made)), num_rows(rows), row_bytes(bytes) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { backend.destroy(table); }

  template <class Index>
  void gather(const Index* index, std::uint64_t num_index, void* out, Stream stream,
              const GatherOptions& options) const {
    Failure failure;
    const GatherJob job{.index = index,
                        .is_wide_index = sizeof(Index) == 8,
                        .num_index = num_index,
                        .positions = options.positions,
                        .out = out,
                        .stream = stream,
                        .max_sms = options.max_sms};
    if (!backend.gather(table, job, &failure)) fail(failure);
  }
};

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
  Failure failure;
  DeviceTable* const made = backend.create(job, options, &failure);
  if (made == nullptr) fail(failure);
  impl_ = std::make_unique<Impl>(backend, made, tensor.num_rows(), tensor.row_bytes());
}

Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;
Table::~Table() = default;

std::uint64_t Table::num_rows() const noexcept {
  return impl_->num_rows;
}

std::uint64_t Table::row_bytes() const noexcept {
  return impl_->row_bytes;
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
    default:
      throw Error(ErrorCode::kCorrupt, "stored row " + where + " is malformed");
  }
}

}  // namespace stillbit::cuda
