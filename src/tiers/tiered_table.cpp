// The public edge: what is given is checked, and a fault becomes an exception.

#include <stillbit/tiered_table.hpp>

#include "core/checked.hpp"
#include "tiers/impl.hpp"

#include <stillbit/file.hpp>

#include <mutex>
#include <shared_mutex>

namespace stillbit {
namespace {

Result<void> check_output(const TieredTable::Impl& table, std::uint64_t num_rows, std::uint64_t num_bytes) {
  const auto wanted = checked_mul(num_rows, table.geometry.row_bytes);
  if (wanted && *wanted == num_bytes) return {};
  return invalid(std::to_string(num_rows) + " rows take " + std::to_string(num_rows) + " × " +
                 std::to_string(table.geometry.row_bytes) + " bytes, the memory given has " +
                 std::to_string(num_bytes));
}

TierStatistics statistics_of(const tiers::TierCounters& counters) {
  TierStatistics statistics;
  statistics.num_lookups = counters.num_lookups;
  statistics.bytes_read = counters.bytes_read;
  statistics.num_filled = counters.num_filled;
  statistics.num_evicted = counters.num_evicted;
  return statistics;
}

}  // namespace

TieredTable::TieredTable(CompressedTensor&& tensor, const TierOptions& options)
    : impl_(std::make_unique<Impl>(std::make_shared<tiers::Base>(std::move(tensor), tiers::FileGuard()), options)) {}

TieredTable::TieredTable(const CompressedTensor& tensor, const TierOptions& options)
    : TieredTable(tiers::copy_of(tensor), options) {}

TieredTable TieredTable::open(const std::filesystem::path& path, const std::string& name, const TierOptions& options) {
  tiers::FileGuard file = unwrap(tiers::FileGuard::open(path));
  NamedTensors tensors = load(file.descriptor());
  for (auto& [found, tensor] : tensors) {
    if (found != name) continue;
    auto base = std::make_shared<tiers::Base>(std::move(tensor), std::move(file));
    return TieredTable(std::make_unique<Impl>(std::move(base), options));
  }
  throw Error(ErrorCode::kInvalidArgument, path.string() + ": there is no tensor \"" + name + "\" in it");
}

TieredTable::TieredTable(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
TieredTable::TieredTable(TieredTable&&) noexcept = default;
TieredTable& TieredTable::operator=(TieredTable&&) noexcept = default;
TieredTable::~TieredTable() = default;

DType TieredTable::dtype() const noexcept {
  return impl_->dtype;
}
const std::vector<std::uint64_t>& TieredTable::shape() const noexcept {
  return impl_->shape;
}
std::uint64_t TieredTable::num_rows() const noexcept {
  return impl_->geometry.num_rows;
}
std::uint64_t TieredTable::row_bytes() const noexcept {
  return impl_->geometry.row_bytes;
}
unsigned TieredTable::row_dims() const noexcept {
  return impl_->row_dims;
}
std::uint64_t TieredTable::raw_bytes() const noexcept {
  return impl_->geometry.num_bytes();
}

void TieredTable::gather(std::span<const std::int64_t> index, std::span<std::byte> out, unsigned num_threads) const {
  unwrap(check_output(*impl_, index.size(), out.size()));
  unwrap(impl_->gather(index, out.data(), num_threads));
}

void TieredTable::gather(std::span<const std::int32_t> index, std::span<std::byte> out, unsigned num_threads) const {
  unwrap(check_output(*impl_, index.size(), out.size()));
  unwrap(impl_->gather(index, out.data(), num_threads));
}

void TieredTable::decompress(std::span<std::byte> out, unsigned num_threads) const {
  unwrap(check_output(*impl_, num_rows(), out.size()));
  unwrap(impl_->decompress(out.data(), num_threads));
}

void TieredTable::update(std::span<const std::int64_t> index, std::span<const std::byte> rows) {
  unwrap(impl_->update(index, rows));
}

void TieredTable::update(std::span<const std::int32_t> index, std::span<const std::byte> rows) {
  unwrap(impl_->update(index, rows));
}

std::uint64_t TieredTable::prefetch(std::span<const std::int64_t> index, bool in_background) {
  return unwrap(impl_->prefetch(index, in_background));
}

void TieredTable::wait_for_prefetches() const {
  impl_->prefetcher->wait();
}

void TieredTable::place(std::span<const std::uint64_t> counts) {
  unwrap(impl_->place(counts));
}

TieredStatistics TieredTable::statistics() const {
  const Impl& table = *impl_;
  TieredStatistics statistics{statistics_of(table.counters.fast), statistics_of(table.counters.warm),
                              statistics_of(table.counters.cold)};
  statistics.num_prefetched = table.counters.num_prefetched;
  statistics.num_prefetch_hits = table.counters.num_prefetch_hits;
  statistics.num_updated = table.counters.num_updated;
  const std::shared_lock lock(impl_->mutex);
  TierStatistics& fast = statistics.fast;
  TierStatistics& warm = statistics.warm;
  fast.budget_bytes = table.options.fast_bytes;
  warm.bytes = table.warm_bytes();
  warm.budget_bytes = table.options.warm_bytes.value_or(table.is_mapped ? 0 : ~std::uint64_t{0});
  if (table.is_closed) return statistics;
  if (table.fast) {
    fast.num_rows = table.fast->num_rows();
    fast.max_rows = table.fast->num_slots();
    fast.bytes = table.fast->bytes();
  }
  if (table.pool) {
    warm.num_rows = table.pool->num_rows();
    warm.max_rows = table.pool->num_units();
    statistics.num_updated_held = table.pool->num_updated();
  }
  TierStatistics& home = table.is_mapped ? statistics.cold : warm;
  home.num_rows = table.geometry.num_rows;
  home.max_rows = table.geometry.num_rows;
  return statistics;
}

void TieredTable::reset_statistics() {
  impl_->counters.reset();
}

void TieredTable::close() {
  impl_->close();
}

}  // namespace stillbit
