// A first look at a tensor that comes in chunks.

#include "files/row_scan.hpp"

#include "core/checksum.hpp"
#include "core/result.hpp"
#include "core/shape.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "statistics/count_rows.hpp"

#include <stillbit/stream.hpp>

#include <algorithm>
#include <utility>

namespace stillbit {
namespace {

/// As much as prices of codecs are taken from.
constexpr std::uint64_t kMaxSampleBytes = std::uint64_t{8} << 20;

/// Long enough that few runs make a sample, short enough that a sample has many.
constexpr std::uint64_t kRunBytes = std::uint64_t{64} << 10;

/// Whether a run is the one that is kept of its 2^level neighbours: at each level, a bit of a hash says which half
/// wins.
bool is_kept(std::uint64_t run, unsigned level) {
  for (unsigned i = 1; i <= level; ++i) {
    const std::uint64_t pair[] = {run >> i, i};
    if ((digest(std::as_bytes(std::span(pair))) & 1) != (run >> (i - 1) & 1)) return false;
  }
  return true;
}

}  // namespace

RunningSample::RunningSample(std::uint64_t row_bytes, std::uint64_t max_bytes)
    : run_bytes_(std::max<std::uint64_t>(1, kRunBytes / row_bytes) * row_bytes),
      max_bytes_(std::max(max_bytes, run_bytes_)) {}

void RunningSample::add(Bytes rows) {
  while (!rows.empty()) {
    const std::uint64_t run = offset_ / run_bytes_;
    const std::uint64_t count = std::min<std::uint64_t>(run_bytes_ - offset_ % run_bytes_, rows.size());
    if (is_kept(run, level_)) {
      if (rows_.size() + count > max_bytes_) {
        thin_out();
        continue;  // this run may be one that is not kept any more
      }
      if (runs_.empty() || runs_.back() != run) runs_.push_back(run);
      rows_.insert(rows_.end(), rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count));
    }
    offset_ += count;
    rows = rows.subspan(count);
  }
}

void RunningSample::thin_out() {
  ++level_;
  std::uint64_t num_kept = 0;
  std::uint64_t kept_bytes = 0;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (!is_kept(runs_[i], level_)) continue;
    const std::uint64_t begin = i * run_bytes_;
    const std::uint64_t count = std::min<std::uint64_t>(run_bytes_, rows_.size() - begin);
    std::copy_n(rows_.begin() + static_cast<std::ptrdiff_t>(begin), count,
                rows_.begin() + static_cast<std::ptrdiff_t>(kept_bytes));
    runs_[num_kept++] = runs_[i];
    kept_bytes += count;
  }
  runs_.resize(num_kept);
  rows_.resize(kept_bytes);
}

struct RowScan::Impl {
  DType dtype;
  std::vector<std::uint64_t> entry_shape;
  unsigned row_dims;
  unsigned num_threads;
  std::uint64_t entry_bytes;
  std::uint64_t row_bytes;
  std::uint64_t length = 0;
  BitStatistics statistics;
  RunningSample sample;
  mutable cpu::RunningChecksum running;
  mutable std::optional<std::uint64_t> checksum;
};

RowScan::RowScan(DType dtype, std::vector<std::uint64_t> entry_shape, unsigned row_dims, unsigned num_threads) {
  if (row_dims > entry_shape.size()) {
    throw Error(ErrorCode::kInvalidArgument, "row_dims " + std::to_string(row_dims) +
                                                 " leaves no dimension to come in chunks: what comes has entries of "
                                                 "shape " +
                                                 to_string(entry_shape));
  }
  const RowGeometry rows = unwrap(row_geometry(dtype, entry_shape, row_dims));
  if (rows.num_bytes() == 0) {
    throw Error(ErrorCode::kInvalidArgument, "entries of shape " + to_string(entry_shape) + " have no bytes");
  }
  impl_ = std::unique_ptr<Impl>(new Impl{dtype,
                                         std::move(entry_shape),
                                         row_dims,
                                         cpu::resolve_threads(num_threads),
                                         rows.num_bytes(),
                                         rows.row_bytes,
                                         0,
                                         BitStatistics(counted_row_bytes(dtype, rows.row_bytes)),
                                         RunningSample(rows.row_bytes, kMaxSampleBytes),
                                         {},
                                         {}});
}

RowScan::RowScan(RowScan&&) noexcept = default;
RowScan& RowScan::operator=(RowScan&&) noexcept = default;
RowScan::~RowScan() = default;

void RowScan::add(std::span<const std::byte> entries) {
  if (entries.size() % impl_->entry_bytes != 0) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(entries.size()) + " bytes are not whole entries of shape " +
                                                 to_string(impl_->entry_shape));
  }
  if (impl_->checksum) throw Error(ErrorCode::kInvalidArgument, "the checksum was taken already");
  count_rows(entries, impl_->statistics, impl_->num_threads);
  impl_->running.add(entries, impl_->num_threads);
  impl_->sample.add(entries);
  impl_->length += entries.size() / impl_->entry_bytes;
}

DType RowScan::dtype() const noexcept {
  return impl_->dtype;
}
std::vector<std::uint64_t> RowScan::shape() const {
  std::vector<std::uint64_t> shape{impl_->length};
  shape.insert(shape.end(), impl_->entry_shape.begin(), impl_->entry_shape.end());
  return shape;
}
unsigned RowScan::row_dims() const noexcept {
  return impl_->row_dims;
}
std::uint64_t RowScan::num_rows() const noexcept {
  return impl_->length * (impl_->entry_bytes / impl_->row_bytes);
}
const BitStatistics& RowScan::statistics() const noexcept {
  return impl_->statistics;
}
std::uint64_t RowScan::checksum() const {
  if (!impl_->checksum) impl_->checksum = impl_->running.value();
  return *impl_->checksum;
}
const std::vector<std::byte>& RowScan::sample() const {
  return impl_->sample.rows();
}

Plan RowScan::plan(const CompressOptions& options) const {
  CompressOptions own = options;
  own.row_dims = impl_->row_dims;
  const std::vector<std::byte>& rows = sample();
  std::vector<std::uint64_t> shape{rows.size() / impl_->row_bytes};
  shape.insert(shape.end(), impl_->entry_shape.end() - impl_->row_dims, impl_->entry_shape.end());
  return stillbit::plan({rows.data(), impl_->dtype, shape}, own, {num_rows(), &impl_->statistics});
}

}  // namespace stillbit
