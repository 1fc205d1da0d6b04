#pragma once

#include "tiers/base.hpp"
#include "tiers/counters.hpp"
#include "tiers/fair_mutex.hpp"
#include "tiers/fast_tier.hpp"
#include "tiers/fork.hpp"
#include "tiers/prefetcher.hpp"
#include "tiers/warm_pool.hpp"

#include <stillbit/tiered_table.hpp>

#include <array>
#include <memory>
#include <span>
#include <vector>

namespace stillbit {

/// The tiers and their lock. Lookups share the lock, and take it for themselves for a moment when rows move; a mapped
/// file is read without it, so that nobody waits for a disk.
struct TieredTable::Impl {
  /// Rows that are looked up, or moved, under one lock. The chunk of a batch for which addresses are worked out before
  /// rows are needed, and short enough that an update does not wait long.
  static constexpr std::uint64_t kMaxPieceRows = 512;
  static constexpr std::uint64_t kMaxPieceBytes = std::uint64_t{128} << 10;

  /// Rows whose numbers mix to the same share a count of updates: by it a row that was read before it was updated is
  /// known, and not put anywhere.
  static constexpr std::uint64_t kNumVersions = 1024;

  Impl(std::shared_ptr<tiers::Base> from, const TierOptions& options);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  [[nodiscard]] std::uint64_t piece_rows() const noexcept;
  [[nodiscard]] bool is_adaptive() const noexcept { return options.policy == TierPolicy::kTinyLfu; }
  [[nodiscard]] std::uint32_t& version_of(std::uint64_t hash) noexcept { return versions[hash % kNumVersions]; }
  [[nodiscard]] std::uint64_t warm_bytes() const noexcept;
  [[nodiscard]] Result<void> check_open() const;

  template <class Index>
  Result<void> gather(std::span<const Index> index, std::byte* out, unsigned num_threads);
  Result<void> decompress(std::byte* out, unsigned num_threads);
  template <class Index>
  Result<void> update(std::span<const Index> index, Bytes rows);
  Result<void> place(std::span<const std::uint64_t> counts);
  Result<std::uint64_t> prefetch(std::span<const std::int64_t> index, bool in_background);
  void close();

  void before_fork();
  void after_fork_in_parent();
  void after_fork_in_child();

  // Of the tensor, and kept when the table is closed.
  DType dtype;
  std::vector<std::uint64_t> shape;
  unsigned row_dims;
  RowGeometry geometry;

  TierOptions options;
  bool is_mapped;
  bool is_mutable;
  double mean_stored_bytes;

  tiers::FairMutex mutex;
  // Guarded by the mutex: read by those who share it, changed by who has it alone.
  bool is_closed = false;
  std::shared_ptr<tiers::Base> base;  ///< a lookup in a mapped one keeps it, and reads it without the mutex
  std::unique_ptr<tiers::FastTier> fast;
  std::unique_ptr<tiers::WarmPool> pool;  ///< where `base` cannot be changed
  std::array<std::uint32_t, kNumVersions> versions{};

  tiers::Counters counters;
  std::unique_ptr<tiers::Prefetcher> prefetcher;

 private:
  /// Precondition: the budget is larger than the tensor.
  void make_pool(std::uint64_t warm_budget);
  Result<void> pull(std::span<const std::uint32_t> rows);
  Result<void> update_in_place(std::span<const std::int64_t> index, Bytes rows);
  Result<void> update_in_pool(std::span<const std::int64_t> index, Bytes rows);
  void rewrite_fast(std::span<const std::int64_t> index, Bytes rows) noexcept;

  tiers::ForkGuard fork_guard_{*this};  ///< goes first
};

}  // namespace stillbit
