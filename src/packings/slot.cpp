#include "packings/slot.hpp"

#include "core/checked.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <vector>

namespace stillbit::packing {
namespace {

constexpr std::uint64_t kSectorBytes = 32;
constexpr std::array<std::uint64_t, 4> kAlignments{128, kSectorBytes, 8, 1};

struct Choice {
  std::uint64_t stride;
  std::uint64_t cost = std::numeric_limits<std::uint64_t>::max();
};

}  // namespace

std::uint64_t choose_stride(std::span<std::uint32_t> sizes, std::uint64_t row_bytes) {
  const Choice raw{row_bytes, sizes.size() * row_bytes};
  if (sizes.empty() || row_bytes <= format::kMinStride) return raw.stride;
  std::sort(sizes.begin(), sizes.end());
  std::vector<std::uint64_t> sum_to(sizes.size() + 1, 0);
  std::partial_sum(sizes.begin(), sizes.end(), sum_to.begin() + 1,
                   [](std::uint64_t a, std::uint64_t b) { return a + b; });

  // The best stride just fits some row: a larger one, up to the next row's, only adds padding.
  const auto best_of = [&](std::uint64_t alignment) {
    Choice best = raw;
    std::uint64_t tried = 0;
    for (const std::uint32_t size : sizes) {
      const std::uint64_t stride =
          align_up(std::max<std::uint64_t>(size + format::kSlotTagBytes, format::kMinStride), alignment);
      if (stride == tried || stride >= row_bytes) continue;
      tried = stride;
      const auto fitting = static_cast<std::size_t>(
          std::upper_bound(sizes.begin(), sizes.end(), stride - format::kSlotTagBytes) - sizes.begin());
      const std::uint64_t num_tails = sizes.size() - fitting;
      const std::uint64_t tails = sum_to.back() - sum_to[fitting] - num_tails * slot_head_bytes(stride);
      const std::uint64_t cost = sizes.size() * stride + tails + num_tails * kSectorBytes;
      if (cost < best.cost) best = {stride, cost};
    }
    return best;
  };
  std::array<Choice, kAlignments.size()> choices{};
  std::transform(kAlignments.begin(), kAlignments.end(), choices.begin(), best_of);
  const std::uint64_t lowest = std::min_element(choices.begin(), choices.end(), [](const Choice& a, const Choice& b) {
                                 return a.cost < b.cost;
                               })->cost;
  return std::find_if(choices.begin(), choices.end(),
                      [&](const Choice& choice) { return choice.cost <= lowest + lowest / 40; })
      ->stride;
}

}  // namespace stillbit::packing
