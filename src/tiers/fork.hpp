#pragma once

#include <stillbit/tiered_table.hpp>

namespace stillbit::tiers {

/// While it lives, a fork of this process waits until nobody is at work in the table, and leaves both processes one
/// that works.
class ForkGuard {
 public:
  explicit ForkGuard(TieredTable::Impl& table);
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

 private:
  TieredTable::Impl& table_;
};

}  // namespace stillbit::tiers
