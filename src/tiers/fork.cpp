#include "tiers/fork.hpp"

#include "tiers/impl.hpp"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <vector>

namespace stillbit::tiers {
namespace {

/// All tables of this process. Never destroyed: a fork may come after the program's own end has begun.
struct Tables {
  std::mutex mutex;
  std::vector<TieredTable::Impl*> all;
};

Tables& tables() {
  static Tables* const kTables = [] {
    auto* made = new Tables;
    ::pthread_atfork(
        [] {
          tables().mutex.lock();
          for (TieredTable::Impl* table : tables().all) table->before_fork();
        },
        [] {
          for (TieredTable::Impl* table : tables().all) table->after_fork_in_parent();
          tables().mutex.unlock();
        },
        [] {
          for (TieredTable::Impl* table : tables().all) table->after_fork_in_child();
          tables().mutex.unlock();
        });
    return made;
  }();
  return *kTables;
}

}  // namespace

ForkGuard::ForkGuard(TieredTable::Impl& table) : table_(table) {
  const std::lock_guard lock(tables().mutex);
  tables().all.push_back(&table);
}

ForkGuard::~ForkGuard() {
  const std::lock_guard lock(tables().mutex);
  std::erase(tables().all, &table_);
}

}  // namespace stillbit::tiers
