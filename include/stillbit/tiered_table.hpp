#pragma once

#include <stillbit/tensor.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace stillbit {

/// Which rows the fast and the warm tier hold.
enum class TierPolicy : std::uint8_t {
  /// TinyLFU (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on
  /// Storage, 2017): a row that was not there takes the place of one that was looked up less often lately. Lookups are
  /// counted in a count-min sketch of 4-bit counters, halved after every ten lookups a slot; the row to give way is the
  /// least counted of five, and a newcomer must lead by two.
  kTinyLfu,

  /// The rows that `place` puts there, and no others.
  kStatic,
};

struct TierOptions {
  /// Budget of the fast tier: raw rows in RAM, with what is needed to find and to count them. 0 for none.
  std::uint64_t fast_bytes = 0;

  /// Budget of the warm tier: compressed rows in RAM, with what is needed to find and to count them. A tensor in memory
  /// lies there as a whole; the budget must hold it, and what updates make it grow by. Of a mapped tensor the tier
  /// holds rows that are looked up often, and those that were updated. Without a budget: no limit for a tensor in
  /// memory, and nothing of a mapped one.
  std::optional<std::uint64_t> warm_bytes = {};

  TierPolicy policy = TierPolicy::kTinyLfu;

  /// How much of the fast tier rows that are prefetched may take, from the first `prefetch` on. At most a half.
  double prefetch_share = 0.125;
};

/// What a tier did since the table was made or `reset_statistics` was called, and what it holds now.
struct TierStatistics {
  std::uint64_t num_lookups = 0;   ///< rows that were found there
  std::uint64_t bytes_read = 0;    ///< for these: raw bytes in the fast tier, stored bytes (at their mean) elsewhere
  std::uint64_t num_filled = 0;    ///< rows that were put there
  std::uint64_t num_evicted = 0;   ///< rows that gave way
  std::uint64_t num_rows = 0;      ///< that it holds
  std::uint64_t max_rows = 0;      ///< that it has room for; an estimate where they are compressed
  std::uint64_t bytes = 0;         ///< that it takes, with what is needed to find and to count rows
  std::uint64_t budget_bytes = 0;  ///< that it may take
};

struct TieredStatistics {
  TierStatistics fast;
  TierStatistics warm;
  TierStatistics cold;  ///< the mapped file, of which nothing counts as memory of the table

  std::uint64_t num_prefetched = 0;     ///< rows that prefetches put into the fast tier
  std::uint64_t num_prefetch_hits = 0;  ///< lookups that found them there
  std::uint64_t num_updated = 0;        ///< rows that were rewritten
  std::uint64_t num_updated_held = 0;   ///< rows that the warm tier holds since the mapped file has them as they were

  [[nodiscard]] std::uint64_t num_lookups() const noexcept {
    return fast.num_lookups + warm.num_lookups + cold.num_lookups;
  }
  /// Of lookups, those that found their row raw in the fast tier.
  [[nodiscard]] double hit_rate() const noexcept {
    return num_lookups() == 0 ? 0.0 : static_cast<double>(fast.num_lookups) / static_cast<double>(num_lookups());
  }
};

/// A table of rows in tiers: rows that are looked up often raw in a fast one, others compressed in RAM, and what is
/// left in a mapped file. Each tier keeps to a budget; which rows it holds follows how often they are looked up.
///
/// Every function is safe to call from any thread at any time. A reader sees each row whole, as it was before an
/// update or as it is after. Functions throw `stillbit::Error` or `std::bad_alloc`; after an exception the table holds
/// the same values as before.
///
/// A process that is forked has the table as it was, without its thread for prefetches, which starts anew when it is
/// next needed: what it had still to do is not done there. The fork waits for lookups and updates of other threads
/// that are under way.
class TieredTable {
 public:
  /// Takes a tensor: one in memory is the warm tier, one that is mapped (from `load`) the cold tier. Rows can be
  /// updated where the tensor is slotted and in memory; else updated rows are kept in what the warm tier has room for.
  /// Throws kInvalidArgument when a budget is too small for anything, or for the tensor.
  explicit TieredTable(CompressedTensor&& tensor, const TierOptions& options = {});

  /// The same with a tensor that stays: one in memory is copied, so that nobody changes it behind the table; one that
  /// is mapped is shared.
  explicit TieredTable(const CompressedTensor& tensor, const TierOptions& options = {});

  /// Maps one tensor of a compressed file, and looks before it reads the file whether it is still the same: once it was
  /// truncated or rewritten in place, lookups that need it throw kIo. (A file that changes while it is being read ends
  /// the process, as with any mapping.) The file may be removed or replaced by another.
  [[nodiscard]] static TieredTable open(const std::filesystem::path& path, const std::string& name,
                                        const TierOptions& options = {});

  TieredTable(TieredTable&&) noexcept;
  TieredTable& operator=(TieredTable&&) noexcept;
  ~TieredTable();

  [[nodiscard]] DType dtype() const noexcept;
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const noexcept;
  [[nodiscard]] std::uint64_t num_rows() const noexcept;
  [[nodiscard]] std::uint64_t row_bytes() const noexcept;
  [[nodiscard]] unsigned row_dims() const noexcept;
  [[nodiscard]] std::uint64_t raw_bytes() const noexcept;

  /// Copies and expands rows index[0], index[1] … into `out`, back to back: index.size() × row_bytes() bytes. Rows that
  /// the policy admits move up on the way. Throws kOutOfRange, and writes nothing, when an index is negative or not
  /// below num_rows().
  void gather(std::span<const std::int64_t> index, std::span<std::byte> out, unsigned num_threads = 0) const;
  void gather(std::span<const std::int32_t> index, std::span<std::byte> out, unsigned num_threads = 0) const;

  /// Copies and expands all rows, without counting them as lookups.
  void decompress(std::span<std::byte> out, unsigned num_threads = 0) const;

  /// Replaces rows in every tier that holds them; of a row named twice the last is kept. Throws kInvalidArgument, and
  /// changes nothing, when the warm tier's budget has no room for them.
  void update(std::span<const std::int64_t> index, std::span<const std::byte> rows);
  void update(std::span<const std::int32_t> index, std::span<const std::byte> rows);

  /// Pulls rows into a part of the fast tier ahead of their use, in this order and as many as have room there
  /// (`TierOptions::prefetch_share`), the oldest of earlier ones giving way. In the background it returns at once; rows
  /// that find the queue full are left out. Returns how many rows were taken on. Nothing is counted as a lookup.
  std::uint64_t prefetch(std::span<const std::int64_t> index, bool in_background = true);

  /// Waits until prefetches in the background are done.
  void wait_for_prefetches() const;

  /// Puts the rows with the largest counts into the fast tier, and those after them into the warm one: one count for
  /// each row, as from a trace. Rows whose count is 0 are left where they are.
  void place(std::span<const std::uint64_t> counts);

  [[nodiscard]] TieredStatistics statistics() const;
  /// Sets what tiers did to 0; what they hold stays.
  void reset_statistics();

  /// Stops the thread and frees the tiers, once calls that are under way have ended; calls that come later throw
  /// kInvalidArgument. The destructor does the same.
  void close();

  struct Impl;

 private:
  explicit TieredTable(std::unique_ptr<Impl> impl) noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace stillbit
