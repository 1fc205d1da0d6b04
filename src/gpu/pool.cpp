#include "gpu/table.hpp"
#include "gpu/warp_table.hpp"

#include <stillbit/cuda.hpp>

#include <string>
#include <vector>

namespace stillbit::cuda {
namespace {

/// What can be wrong with a request before the GPU looks at it.
Result<PoolJob> job_of(const Table::Impl& table, const PoolRequest& request) {
  const Bags& bags = request.bags;
  const format::PayloadHeader& header = table.header;
  const auto element = warp_element(header.dtype);
  if (!element)
    return unsupported("rows of F16, BF16, F32 and F64 can be pooled, not of " + std::string(name(header.dtype)));
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  if (row_bytes > warp::kMaxRunBytes)
    return unsupported("rows of " + std::to_string(row_bytes) + " bytes: a GPU pools rows of up to " +
                       std::to_string(warp::kMaxRunBytes));
  if (bags.has_last_offset && bags.offsets.size == 0)
    return invalid("offsets that say where the last bag ends are empty");
  if (bags.weights != nullptr && bags.mode != PoolMode::kSum) return invalid("rows are weighted in sums only");
  if (request.out_stride < row_bytes)
    return invalid("results that lie " + std::to_string(request.out_stride) + " bytes apart overlap: each has " +
                   std::to_string(row_bytes));
  return PoolJob{.table = table.table,
                 .request = {.index = bags.index.data,
                             .offsets = bags.offsets.data,
                             .weights = static_cast<const std::byte*>(bags.weights),
                             .out = static_cast<std::byte*>(request.out),
                             .out_stride = request.out_stride,
                             .num_index = bags.index.size,
                             .num_bags = bags.num_bags(),
                             .padding = bags.padding_index.value_or(0),
                             .element = *element,
                             .pooling = warp_pooling(bags.mode),
                             .has_padding = bags.padding_index.has_value(),
                             .has_last_offset = bags.has_last_offset,
                             .is_wide_index = bags.index.is_wide,
                             .is_wide_offsets = bags.offsets.is_wide}};
}

}  // namespace

void pool(std::span<const PoolRequest> requests, Stream stream, std::uint32_t max_sms) {
  if (requests.empty()) return;
  std::vector<PoolJob> jobs;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto job = job_of(requests[i].table->impl(), requests[i]);
    if (!job.ok() && requests.size() > 1) job = in_context("table " + std::to_string(i), job.fault());
    jobs.push_back(unwrap(std::move(job)));
  }
  Failure failure;
  const Backend& backend = requests[0].table->impl().backend;
  if (!backend.pool(jobs.data(), jobs.size(), max_sms, stream, &failure)) fail(failure);
}

void Table::set_fast_rows(const std::uint32_t* slots, const void* rows, std::uint64_t num_fast_rows) {
  Failure failure;
  if (!impl_->backend.set_fast_rows(impl_->table, slots, static_cast<const std::byte*>(rows), num_fast_rows, &failure))
    fail(failure);
}

void Table::pool(const Bags& bags, void* out, Stream stream, std::uint32_t max_sms) const {
  const PoolRequest request{this, bags, out, row_bytes()};
  cuda::pool({&request, 1}, stream, max_sms);
}

}  // namespace stillbit::cuda
