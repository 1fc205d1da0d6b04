#pragma once

#include <stillbit/pool.hpp>

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace stillbit::testing {

/// Bags of 0 to 40 rows, of which a few are wanted often.
struct RandomBags {
  std::vector<std::int64_t> index;
  std::vector<std::int64_t> offsets{0};

  RandomBags(std::uint64_t num_rows, std::uint64_t num_bags, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::uint64_t bag = 0; bag < num_bags; ++bag) {
      for (std::uint64_t i = random() % 41; i > 0; --i)
        index.push_back(static_cast<std::int64_t>(random() % (random() % 2 == 0 ? 3 : num_rows)));
      offsets.push_back(static_cast<std::int64_t>(index.size()));
    }
  }

  [[nodiscard]] Bags bags(PoolMode mode) const {
    Bags bags;
    bags.index = std::span(index);
    bags.offsets = std::span(offsets);
    bags.has_last_offset = true;
    bags.mode = mode;
    return bags;
  }
};

}  // namespace stillbit::testing
