#pragma once

#include <stillbit/stillbit.hpp>

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <string>

/// The module `stillbit._core`. It takes addresses and sizes: the package in Python around it checks arrays, and keeps
/// them alive during a call. Long work runs without the GIL.
namespace stillbit::python {

/// A tensor that several Python threads may use at once: reading shares it, changing it takes it alone. The
/// mutex is never waited for with the GIL held.
struct Handle {
  explicit Handle(CompressedTensor compressed) : tensor(std::move(compressed)) {}

  CompressedTensor tensor;
  mutable std::shared_mutex mutex;
};

/// Long work: for as long as this lives, Python's lock is released, and Ctrl-C ends the call with KeyboardInterrupt.
class LongCall {
 public:
  LongCall();

 private:
  InterruptScope interrupt_;
  nanobind::gil_scoped_release released_;
};

/// Bytes done so far: threads of the library count, a thread in Python reads.
struct Counter {
  std::atomic<std::uint64_t> num_bytes{0};

  /// What adds to a counter; nothing when there is none.
  static Progress progress(Counter* counter) {
    if (counter == nullptr) return {};
    return [counter](std::uint64_t num_bytes) { counter->num_bytes += num_bytes; };
  }
};

/// What the names stand for; throws `Error`, naming those there are, when there is no such one.
DType dtype_of(const std::string& text);
PoolMode pool_mode(const std::string& name);
CompressOptions compress_options(const std::optional<std::string>& codec, const std::optional<std::string>& packing,
                                 const std::string& objective, unsigned row_dims, unsigned num_threads,
                                 Counter* counter);

/// The same, or with a plan, which says all but the threads.
CompressOptions compress_options(const Plan* plan, const std::optional<std::string>& codec,
                                 const std::optional<std::string>& packing, const std::string& objective,
                                 unsigned row_dims, unsigned num_threads, Counter* counter);

void bind_errors();
void bind_tensor(nanobind::module_& module);
void bind_cuda(nanobind::module_& module);
void bind_files(nanobind::module_& module);
void bind_ibp(nanobind::module_& module);
void bind_plan(nanobind::module_& module);
void bind_stream(nanobind::module_& module);
void bind_tiers(const nanobind::module_& module);

}  // namespace stillbit::python
