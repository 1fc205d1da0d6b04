#include "bench/gpu/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace stillbit::bench::gpu {
namespace {

constexpr std::size_t kMinRepetitions = 7;
constexpr std::size_t kMaxRepetitions = 15;
constexpr double kWantedSeconds = 0.2;  ///< for all repetitions, where 7 do not take longer
constexpr double kRepetitionSeconds = 2e-3;
constexpr double kMaxCalls = 256;

class Event {
 public:
  Event() { require(cudaEventCreate(&event_), "cudaEventCreate"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { (void)cudaEventDestroy(event_); }

  void record(cudaStream_t stream) { require(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// Waits for this event, and for nothing behind it.
  [[nodiscard]] double seconds_since(const Event& before) const {
    require(cudaEventSynchronize(event_), "what was put on the stream");
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, before.event_, event_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Runs calls and counts their time: on the GPU by its own clock, else by the CPU's.
class Clock {
 public:
  Clock(const Work& work, cudaStream_t stream) : work_(work), stream_(stream) {}

  double seconds_of(std::uint64_t num_calls) {
    const auto begin = std::chrono::steady_clock::now();
    begin_.record(stream_);
    for (std::uint64_t i = 0; i < num_calls; ++i) work_.run(call_++, stream_);
    end_.record(stream_);
    const double by_gpu = end_.seconds_since(begin_);
    const double by_cpu = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return (work_.is_on_cpu ? by_cpu : by_gpu) / static_cast<double>(num_calls);
  }

 private:
  const Work& work_;
  cudaStream_t stream_;
  std::uint64_t call_ = 0;
  Event begin_;
  Event end_;
};

}  // namespace

Timing measure(const Work& work, cudaStream_t stream) {
  Clock clock(work, stream);
  (void)clock.seconds_of(2);  // what is made at the first call, and clocks that rise under load
  const double estimate = std::max(clock.seconds_of(1), 1e-7);
  Timing timing;
  timing.calls = static_cast<std::uint64_t>(std::clamp(std::ceil(kRepetitionSeconds / estimate), 1.0, kMaxCalls));
  (void)clock.seconds_of(timing.calls);
  double spent = 0;
  while (timing.seconds.size() < kMinRepetitions ||
         (timing.seconds.size() < kMaxRepetitions && spent < kWantedSeconds)) {
    timing.seconds.push_back(clock.seconds_of(timing.calls));
    spent += timing.seconds.back() * static_cast<double>(timing.calls);
  }
  return timing;
}

}  // namespace stillbit::bench::gpu
