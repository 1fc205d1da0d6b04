#include "codecs/ibp/layout.hpp"
#include "codecs/ibp/warp.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <string>

namespace stillbit::ibp {
namespace {

/// Kinds of blocks, with their runs, each of them once.
class Kinds {
 public:
  /// The number of the kind of a block that has these masks.
  std::uint32_t number_of(const std::byte* values, const std::byte* free, const std::byte* patches,
                          std::uint32_t checked) {
    std::string key;
    for (const std::byte* part : {values, free, patches}) key.append(reinterpret_cast<const char*>(part), kBlockBytes);
    key.append(reinterpret_cast<const char*>(&checked), sizeof checked);
    const auto [at, is_new] = numbers_.try_emplace(std::move(key), static_cast<std::uint32_t>(kinds_.size()));
    if (is_new) add(values, free, patches, checked);
    return at->second;
  }

  [[nodiscard]] const std::vector<BlockKind>& kinds() const noexcept { return kinds_; }
  [[nodiscard]] const std::vector<FreeRun>& runs() const noexcept { return runs_; }

 private:
  void add(const std::byte* values, const std::byte* free, const std::byte* patches, std::uint32_t checked) {
    BlockKind kind;
    std::memcpy(kind.values, values, kBlockBytes);
    std::memcpy(kind.patches, patches, kBlockBytes);
    kind.first_run = static_cast<std::uint32_t>(runs_.size());
    kind.checked = checked;
    for (unsigned i = 0; i < kBlockChunks; ++i) {
      const std::size_t num_before = runs_.size();
      kind.free_bits[i] = static_cast<std::uint8_t>(add_runs(load<std::uint32_t>(free + 4 * i)));
      kind.num_runs[i] = static_cast<std::uint8_t>(runs_.size() - num_before);
    }
    kinds_.push_back(kind);
  }

  /// Returns the number of ones.
  unsigned add_runs(std::uint32_t mask) {
    unsigned num_ones = 0;
    while (mask != 0) {
      const std::uint32_t above = mask + (mask & (0 - mask));
      const std::uint32_t run = mask & ~above;
      runs_.push_back({run, static_cast<unsigned>(std::countr_zero(run)) - num_ones});
      num_ones += static_cast<unsigned>(std::popcount(run));
      mask &= above;
    }
    return num_ones;
  }

  std::map<std::string, std::uint32_t> numbers_;
  std::vector<BlockKind> kinds_;
  std::vector<FreeRun> runs_;
};

}  // namespace

warp::PlanBytes warp_plan(const Plan& plan) {
  const std::uint64_t block_columns = kBlockBytes / plan.view_bytes;
  const std::uint64_t num_columns = plan.num_columns();
  const std::uint64_t word_ones = ~std::uint64_t{0} >> (64 - 8 * plan.view_bytes);
  WarpPlan head;
  head.num_columns = static_cast<std::uint32_t>(num_columns);
  head.num_blocks = static_cast<std::uint32_t>(ceil_div(num_columns, block_columns));

  Kinds kinds;
  std::vector<BlockPlace> places(head.num_blocks);
  BlockPlace next;
  for (std::uint32_t block = 0; block < head.num_blocks; ++block) {
    std::byte values[kBlockBytes] = {};
    std::byte free[kBlockBytes] = {};
    std::byte patches[kBlockBytes] = {};
    std::uint32_t checked = 0;
    BlockPlace& place = places[block];
    place = next;
    for (std::uint64_t i = 0; i < block_columns; ++i) {
      // Columns that the last block lacks are as those of the first one: it may then be of the same kind.
      const std::uint64_t column = block * block_columns + i < num_columns ? block * block_columns + i : i;
      if (column >= num_columns) break;
      const Entry& entry = plan.entry(column);
      const std::uint64_t free_mask = ~entry.mask & word_ones;
      const std::uint64_t patch_mask = entry.patch();
      std::memcpy(values + i * plan.view_bytes, &entry.value, plan.view_bytes);
      std::memcpy(free + i * plan.view_bytes, &free_mask, plan.view_bytes);
      std::memcpy(patches + i * plan.view_bytes, &patch_mask, plan.view_bytes);
      checked |= static_cast<std::uint32_t>(patch_mask != 0) << i;
      if (block * block_columns + i >= num_columns) continue;
      next.free_at += static_cast<std::uint32_t>(std::popcount(free_mask));
      next.rank += patch_mask != 0 ? 1 : 0;
    }
    place.kind = kinds.number_of(values, free, patches, checked);
  }
  head.free_at = next.rank;
  head.num_static_bits = next.rank + next.free_at;
  for (BlockPlace& place : places) place.free_at += head.free_at;

  const bool are_alike = kinds.kinds().size() == 1;
  if (are_alike) {
    const BlockKind& kind = kinds.kinds()[0];
    for (const unsigned free_bits : kind.free_bits) head.block_free_bits += free_bits;
    head.block_checked = static_cast<std::uint32_t>(std::popcount(kind.checked));
    places.clear();
  } else {
    head.places_at = sizeof(WarpPlan);
  }
  const std::uint64_t kinds_at = align_up(sizeof(WarpPlan) + places.size() * sizeof(BlockPlace), alignof(BlockKind));
  const std::uint64_t runs_at = kinds_at + kinds.kinds().size() * sizeof(BlockKind);
  head.kinds_at = static_cast<std::uint32_t>(kinds_at);
  head.runs_at = static_cast<std::uint32_t>(runs_at);
  warp::PlanBytes made{plan.view_bytes, std::vector<std::byte>(runs_at + kinds.runs().size() * sizeof(FreeRun))};
  std::byte* const bytes = made.bytes.data();
  std::memcpy(bytes, &head, sizeof head);
  std::copy(places.begin(), places.end(), reinterpret_cast<BlockPlace*>(bytes + sizeof head));
  std::copy(kinds.kinds().begin(), kinds.kinds().end(), reinterpret_cast<BlockKind*>(bytes + kinds_at));
  std::copy(kinds.runs().begin(), kinds.runs().end(), reinterpret_cast<FreeRun*>(bytes + runs_at));
  return made;
}

}  // namespace stillbit::ibp
