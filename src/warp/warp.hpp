#pragma once

#include <cstdint>

// The vocabulary that what a warp does is written in. A function template over `Warp` runs on a GPU's warp
// (cuda/device_warp.cuh) and on one that a CPU plays (warp/host_warp.hpp), so that a kernel's logic is tested where
// there is no GPU. A warp has
//
//   PerLane<T>              a T for each lane: a register on a GPU, an array on a CPU
//   each(body)              body(lane) for every lane; lanes see what others wrote only after sync()
//   ballot(flags)           bit l is flags[l]
//   shuffle_up(value, d)    for lane l the value of lane l − d; lanes below d keep their own
//   broadcast(value, l)     the value of lane l
//   inclusive_sum(value)    for lane l the sum of the values of lanes 0 to l
//   sum(value)              the sum of all lanes' values
//   sync()                  memory that a lane wrote is seen by the others
//   copy_async(dst, src)    inside each: 16 bytes into shared memory, both addresses multiples of 16; arrives later
//   commit_copies()         ends a group of copies
//   wait_copies(n)          waits until at most n groups, the youngest, are on their way; is a sync() as well
//   fetch_add, fetch_or,    inside each: atomic on memory that all warps see, or all lanes; what was there before
//   fetch_max
//   claim(word, value)      inside each: atomically replaces 0 by value; says whether it was 0

#if defined(__CUDACC__)
#define STILLBIT_WARP __device__ __forceinline__
#define STILLBIT_UNROLL _Pragma("unroll")
#define STILLBIT_NO_UNROLL _Pragma("unroll 1")
#else
#define STILLBIT_WARP inline
#define STILLBIT_UNROLL _Pragma("GCC unroll 8")
#define STILLBIT_NO_UNROLL
#endif

namespace stillbit::warp {

inline constexpr unsigned kLanes = 32;

template <class Warp, class T>
using PerLane = typename Warp::template PerLane<T>;

/// Replaces each lane's count by the sum of those of the lanes before it. Returns the sum of all.
template <class Warp>
STILLBIT_WARP std::uint32_t exclusive_sum(Warp& warp, PerLane<Warp, std::uint32_t>& count) {
  const PerLane<Warp, std::uint32_t> sum = warp.inclusive_sum(count);
  warp.each([&](unsigned lane) { count[lane] = sum[lane] - count[lane]; });
  return warp.broadcast(sum, kLanes - 1);
}

/// Whether a flag is set in every lane.
template <class Warp>
STILLBIT_WARP bool all(Warp& warp, const PerLane<Warp, bool>& flags) {
  return warp.ballot(flags) == ~std::uint32_t{0};
}

}  // namespace stillbit::warp
