#include "tiers/impl.hpp"

#include "api/decoder.hpp"
#include "api/plan.hpp"
#include "core/checked.hpp"
#include "cpu/parallel.hpp"
#include "tiers/lookup.hpp"

#include <algorithm>
#include <mutex>
#include <shared_mutex>

namespace stillbit {

using tiers::FastTier;
using tiers::Lookup;
using tiers::WarmPool;

namespace {

/// Rows are numbered in 32 bits: a row in the fast tier costs 24 bytes beside its own, not 40.
constexpr std::uint64_t kMaxRows = (std::uint64_t{1} << 32) - 1;

/// Slots, too, and the clock hand counts them.
constexpr std::uint64_t kMaxSlots = std::uint64_t{1} << 30;

/// Rows of a tensor from which the pool makes its plan, in runs that lie together: few pages of a mapped file.
constexpr std::uint64_t kMaxSampledRows = 4096;
constexpr std::uint64_t kMaxSampledBytes = std::uint64_t{2} << 20;
constexpr std::uint64_t kRunRows = 16;

/// Shorter units of the pool would take less than what is needed to find them.
constexpr std::uint64_t kMinUnitBytes = 32;

/// Output bytes of one task of a gather; less than two tasks are not worth a thread.
constexpr std::uint64_t kTaskBytes = std::uint64_t{256} << 10;

std::vector<std::int64_t> sampled_rows(const RowGeometry& geometry) {
  const std::uint64_t most = std::clamp<std::uint64_t>(kMaxSampledBytes / geometry.row_bytes, 1, kMaxSampledRows);
  const std::uint64_t run_rows = geometry.num_rows <= most ? geometry.num_rows : std::min(most, kRunRows);
  const std::uint64_t num_runs = std::min(most, geometry.num_rows) / run_rows;
  std::vector<std::int64_t> rows;
  for (std::uint64_t run = 0; run < num_runs; ++run) {
    const std::uint64_t first = geometry.num_rows / num_runs * run;
    for (std::uint64_t row = first; row < first + run_rows; ++row) rows.push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

Error too_small(const char* tier, std::uint64_t budget, std::uint64_t needed, const std::string& for_what) {
  return {ErrorCode::kInvalidArgument, std::string("the ") + tier + " tier's budget of " + std::to_string(budget) +
                                           " bytes is too small: " + for_what + " takes " + std::to_string(needed)};
}

}  // namespace

TieredTable::Impl::Impl(std::shared_ptr<tiers::Base> from, const TierOptions& wanted)
    : dtype(from->tensor.dtype()),
      shape(from->tensor.shape()),
      row_dims(from->tensor.row_dims()),
      geometry(from->tensor.impl().header.geometry),
      options(wanted),
      is_mapped(from->is_mapped()),
      is_mutable(from->is_mutable()),
      mean_stored_bytes(from->mean_stored_bytes()),
      base(std::move(from)) {
  if (!(options.prefetch_share >= 0 && options.prefetch_share <= 0.5))
    throw Error(ErrorCode::kInvalidArgument, "prefetch_share is a part of the fast tier from 0 to 0.5");
  if (geometry.num_rows > kMaxRows) {
    throw Error(ErrorCode::kUnsupported, "the tensor has " + std::to_string(geometry.num_rows) +
                                             " rows, and a table in tiers at most 2^32 - 1: make several of it");
  }
  const std::uint64_t tensor_bytes = base->memory_bytes();
  if (options.warm_bytes && *options.warm_bytes < tensor_bytes)
    throw too_small("warm", *options.warm_bytes, tensor_bytes, "the compressed tensor, which is in memory,");
  const bool has_rows = geometry.num_bytes() > 0;
  if (has_rows && options.fast_bytes > 0) {
    const auto bytes_for = [&](std::uint64_t n) { return FastTier::bytes_for(n, geometry.row_bytes); };
    const std::uint64_t num_slots =
        tiers::slots_within(options.fast_bytes, std::min(geometry.num_rows, kMaxSlots), bytes_for);
    if (num_slots == 0) throw too_small("fast", options.fast_bytes, bytes_for(1), "one row");
    fast = std::make_unique<FastTier>(num_slots, geometry.row_bytes, options.prefetch_share);
  }
  if (const std::uint64_t budget = options.warm_bytes.value_or(0); has_rows && !is_mutable && budget > tensor_bytes)
    make_pool(budget);
  prefetcher = std::make_unique<tiers::Prefetcher>(
      [this](std::span<const std::uint32_t> rows) {
        try {
          static_cast<void>(pull(rows).ok());
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
          // Whoever looks these rows up will be told.
        }
      },
      piece_rows());
}

TieredTable::Impl::~Impl() {
  close();
}

void TieredTable::Impl::make_pool(std::uint64_t warm_budget) {
  const std::vector<std::int64_t> sampled = sampled_rows(geometry);
  std::vector<std::byte> sample(sampled.size() * geometry.row_bytes);
  base->tensor.gather(sampled, sample);
  std::vector<std::uint64_t> sample_shape{sampled.size()};
  sample_shape.insert(sample_shape.end(), shape.end() - row_dims, shape.end());
  const Plan plan = stillbit::plan({sample.data(), dtype, sample_shape}, {.row_dims = row_dims},
                                   {.num_rows = geometry.num_rows, .statistics = nullptr});
  const std::uint64_t unit_bytes = std::max(plan.stride(), std::min(geometry.row_bytes, kMinUnitBytes));
  const std::uint64_t budget = warm_budget - base->memory_bytes();
  const auto bytes_for = [&](std::uint64_t n) { return WarmPool::bytes_for(n, unit_bytes, geometry.row_bytes); };
  // Rows unlike the sample take several units.
  const std::uint64_t most = std::min(geometry.num_rows * ceil_div(geometry.row_bytes, unit_bytes), kMaxSlots);
  const std::uint64_t num_units = tiers::slots_within(budget, most, bytes_for);
  const std::uint64_t needed = ceil_div(geometry.row_bytes, unit_bytes);
  if (num_units < needed) {
    // Beside a packed tensor there may be no room for updates, as there may be no budget for it at all.
    if (!is_mapped) return;
    throw too_small("warm", warm_budget, bytes_for(needed), "room for one row");
  }
  pool = std::make_unique<WarmPool>(plan.impl().codec, num_units, unit_bytes, geometry.row_bytes);
}

std::uint64_t TieredTable::Impl::piece_rows() const noexcept {
  return std::clamp<std::uint64_t>(kMaxPieceBytes / std::max<std::uint64_t>(1, geometry.row_bytes), 1, kMaxPieceRows);
}

std::uint64_t TieredTable::Impl::warm_bytes() const noexcept {
  return (base ? base->memory_bytes() : 0) + (pool ? pool->bytes() : 0);
}

Result<void> TieredTable::Impl::check_open() const {
  if (is_closed) return invalid("the table is closed");
  return {};
}

template <class Index>
Result<void> TieredTable::Impl::gather(std::span<const Index> index, std::byte* out, unsigned num_threads) {
  STILLBIT_CHECK(check_indices(index, geometry.num_rows));
  if (index.empty() || geometry.row_bytes == 0) {
    const std::shared_lock lock(mutex);
    return check_open();
  }
  const std::uint64_t piece = piece_rows();
  const std::uint64_t task = std::max<std::uint64_t>(1, kTaskBytes / (piece * geometry.row_bytes)) * piece;
  const auto run = [&](std::uint64_t begin, std::uint64_t end) -> Result<void> {
    Lookup lookup(*this, Lookup::Purpose::kGather);
    std::vector<std::uint32_t> rows;
    for (; begin < end; begin += piece) {
      const auto part = index.subspan(begin, std::min(piece, end - begin));
      rows.assign(part.begin(), part.end());
      STILLBIT_CHECK(lookup.run(rows, out + begin * geometry.row_bytes));
    }
    return {};
  };
  if (index.size() <= task) return run(0, index.size());
  return cpu::parallel_for(
      ceil_div(index.size(), task), cpu::resolve_threads(num_threads),
      [&](std::uint64_t i, unsigned) { return run(i * task, std::min<std::uint64_t>((i + 1) * task, index.size())); });
}

template Result<void> TieredTable::Impl::gather(std::span<const std::int32_t>, std::byte*, unsigned);
template Result<void> TieredTable::Impl::gather(std::span<const std::int64_t>, std::byte*, unsigned);

Result<void> TieredTable::Impl::decompress(std::byte* out, unsigned num_threads) {
  {
    const std::shared_lock lock(mutex);
    STILLBIT_CHECK(check_open());
  }
  if (geometry.num_bytes() == 0) return {};
  const std::uint64_t piece = piece_rows();
  return cpu::parallel_for(ceil_div(geometry.num_rows, piece), cpu::resolve_threads(num_threads),
                           [&](std::uint64_t i, unsigned) -> Result<void> {
                             Lookup lookup(*this, Lookup::Purpose::kReadOnly);
                             std::vector<std::uint32_t> rows;
                             for (std::uint64_t row = i * piece; row < std::min((i + 1) * piece, geometry.num_rows);
                                  ++row)
                               rows.push_back(static_cast<std::uint32_t>(row));
                             return lookup.run(rows, out + i * piece * geometry.row_bytes);
                           });
}

void TieredTable::Impl::close() {
  prefetcher->stop();
  const std::lock_guard lock(mutex);
  is_closed = true;
  fast.reset();
  pool.reset();
  base.reset();
}

void TieredTable::Impl::before_fork() {
  // In this order: nobody waits for the table's lock with the queue's in hand.
  prefetcher->before_fork();
  mutex.before_fork();
}

void TieredTable::Impl::after_fork_in_parent() {
  mutex.after_fork_in_parent();
  prefetcher->after_fork_in_parent();
}

void TieredTable::Impl::after_fork_in_child() {
  mutex.after_fork_in_child();
  prefetcher->after_fork_in_child();
}

}  // namespace stillbit
