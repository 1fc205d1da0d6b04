// What a case does: the jobs.

#pragma once

#include "bench/gpu/cases.hpp"
#include "bench/gpu/data.hpp"
#include "bench/gpu/memory.hpp"

#include <cstdint>
#include <functional>

namespace stillbit::bench::gpu {

/// Memory that jobs write to, allocated once.
class Outputs {
 public:
  static constexpr std::uint64_t kBytes = std::uint64_t{1} << 30;

  Outputs() : device(device_memory(kBytes)), pinned(pinned_memory(kBytes)), count(device_memory(8)) {}

  DeviceMemory device;
  PinnedMemory pinned;
  DeviceMemory count;  ///< of what is_exact found wrong
};

struct Work {
  /// Puts a call on the stream; calls are counted from 0.
  std::function<void(std::uint64_t call, cudaStream_t stream)> run;
  /// Throws when a call, which has to be over, met something malformed. Null: nothing can be.
  std::function<void(cudaStream_t stream)> check;
  /// Puts what expands a call's result to where other jobs write. Null: the call itself writes there.
  std::function<void(cudaStream_t stream)> expand;
  const std::int64_t* verified_index = nullptr;  ///< the rows that call 0 writes; null: all of them in order
  std::uint64_t verified_rows = 0;               ///< 0: what is written means nothing
  bool is_on_cpu = false;                        ///< takes its time on the CPU, too
  std::uint64_t raw_bytes = 0;                   ///< what a call writes, or compresses
  std::uint64_t stored_bytes = 0;                ///< what a call has to read to do so, or what it compresses to
  std::uint64_t bytes_in_flight = 0;             ///< of each multiprocessor, at most; 0: not known
  double ratio = 1;
  double transfer_ratio = 1;
};

/// Makes what the case needs. Throws Skip.
Work prepare(const Case& which, Data& data, const Outputs& outputs);

/// Whether a call writes the right bytes, over memory that held others.
bool is_exact(const Work& work, const Data& data, const Outputs& outputs, cudaStream_t stream);

/// Throws unless a single wrong byte is found.
void require_that_errors_are_found(const Outputs& outputs, cudaStream_t stream);

}  // namespace stillbit::bench::gpu
