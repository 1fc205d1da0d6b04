#pragma once

#include "tiers/hash.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::tiers {

/// Which slot holds a row: a hash table with linear probing, of a size that is set once. Rows are below 2^32.
class RowMap {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  /// Three places for two slots: short probes at any fill.
  [[nodiscard]] static constexpr std::uint64_t places_for(std::uint64_t num_slots) noexcept {
    return num_slots + num_slots / 2 + 1;
  }
  [[nodiscard]] static constexpr std::uint64_t bytes_for(std::uint64_t num_slots) noexcept {
    return places_for(num_slots) * sizeof(Place);
  }

  explicit RowMap(std::uint64_t num_slots) : places_(places_for(num_slots)) {}

  [[nodiscard]] std::uint64_t bytes() const noexcept { return places_.size() * sizeof(Place); }

  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&places_[home(hash)]); }

  [[nodiscard]] std::uint32_t find(std::uint32_t row, std::uint64_t hash) const noexcept {
    for (std::uint64_t at = home(hash); places_[at].slot != kNone; at = next(at)) {
      if (places_[at].row == row) return places_[at].slot;
    }
    return kNone;
  }

  /// Precondition: the row is not there, and fewer rows than slots are.
  void insert(std::uint32_t row, std::uint32_t slot) noexcept {
    std::uint64_t at = home(hash_row(row));
    while (places_[at].slot != kNone) at = next(at);
    places_[at] = {row, slot};
  }

  /// Precondition: the row is there.
  void erase(std::uint32_t row) noexcept {
    std::uint64_t at = home(hash_row(row));
    while (places_[at].row != row || places_[at].slot == kNone) at = next(at);
    // What was put behind it on the way past its place moves up: no mark of what was deleted is needed.
    std::uint64_t hole = at;
    for (at = next(at); places_[at].slot != kNone; at = next(at)) {
      const std::uint64_t wanted = home(hash_row(places_[at].row));
      const bool may_move = hole <= at ? wanted <= hole || wanted > at : wanted <= hole && wanted > at;
      if (!may_move) continue;
      places_[hole] = places_[at];
      hole = at;
    }
    places_[hole] = {};
  }

 private:
  struct Place {
    std::uint32_t row = 0;
    std::uint32_t slot = kNone;
  };

  [[nodiscard]] std::uint64_t home(std::uint64_t hash) const noexcept { return scale(hash, places_.size()); }
  [[nodiscard]] std::uint64_t next(std::uint64_t at) const noexcept { return at + 1 == places_.size() ? 0 : at + 1; }

  std::vector<Place> places_;
};

}  // namespace stillbit::tiers
