#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <functional>

namespace stillbit::cpu {

/// The number of threads to use when the caller asks for `requested`: 0 stands for every processor of this process.
[[nodiscard]] unsigned resolve_threads(unsigned requested) noexcept;

/// Runs `body(task, worker)` for every task below `num_tasks`, on at most `num_threads` threads, the caller's among
/// them.
///
/// Tasks are begun in order, so that one may wait for those before it; `worker` is below `num_threads`. After a fault
/// no new task starts, and the fault of the first task that has one is returned; an exception is rethrown here, also
/// one of the caller's InterruptScope, which is asked between tasks. Threads live as long as they have work:
/// there is no state that a fork could break. One that did not begin in time is not waited for.
Result<void> parallel_for(std::uint64_t num_tasks, unsigned num_threads,
                          const std::function<Result<void>(std::uint64_t task, unsigned worker)>& body);

}  // namespace stillbit::cpu
