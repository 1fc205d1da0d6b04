#include "tiers/fair_mutex.hpp"

#include <new>

namespace stillbit::tiers {

void FairMutex::after_fork_in_child() {
  mutex_.unlock();
  // Destroying one that threads waited for, which no longer are, would wait for them.
  ::new (&readers_) std::condition_variable();
  ::new (&writers_) std::condition_variable();
  num_readers_ = 0;
  num_waiting_readers_ = 0;
  num_waiting_writers_ = 0;
  is_writing_ = false;
}

}  // namespace stillbit::tiers
