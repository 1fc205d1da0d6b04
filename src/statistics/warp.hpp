#pragma once

#include "warp/bits.hpp"

#include <cstddef>
#include <cstdint>

// How warps count the ones of each bit of a row, over many rows: what BitStatistics does on a CPU, with the same
// result.
//
// Every lane has a word of 32 bits of the row, and adds rows bit-sliced, with the adders of positional_count.inl: all
// 32 counts of a lane are in a few registers. Rows of few bytes, or of no whole words, are counted in laps of several.

namespace stillbit {

/// What is counted. All pointers are to memory that all warps see.
struct BitCount {
  const std::byte* src = nullptr;  ///< rows, back to back, at any address
  std::uint64_t num_rows = 0;
  std::uint64_t row_bytes = 0;    ///< above 0
  std::uint64_t lap_bytes = 0;    ///< lap_bytes_for(row_bytes)
  std::uint64_t part_laps = 0;    ///< that a warp counts in one: a multiple of 8, at most kMaxPartLaps
  std::uint64_t* ones = nullptr;  ///< 8 × row_bytes counts; what is counted is added
};

/// Counters have 16 bits.
inline constexpr unsigned kNumSlices = 16;
inline constexpr std::uint64_t kMaxPartLaps = (std::uint64_t{1} << kNumSlices) - 8;

/// Bytes of a lap that a warp counts together.
inline constexpr std::uint64_t kStripBytes = std::uint64_t{4} * warp::kLanes;

/// Rows that are counted together so that they are whole words, and whole strips where otherwise many lanes would have
/// nothing to do.
[[nodiscard]] constexpr std::uint64_t lap_bytes_for(std::uint64_t row_bytes) noexcept {
  std::uint64_t lap = row_bytes;
  while (lap % (row_bytes < 4 * kStripBytes ? kStripBytes : 4) != 0) lap *= 2;
  return lap;
}

STILLBIT_WARP std::uint64_t num_laps(const BitCount& job) {
  return (job.num_rows * job.row_bytes + job.lap_bytes - 1) / job.lap_bytes;
}

STILLBIT_WARP std::uint64_t num_strips(const BitCount& job) {
  return (job.lap_bytes + kStripBytes - 1) / kStripBytes;
}

/// a + b + c = 2 × high + low, in every bit.
STILLBIT_WARP void add3(std::uint32_t& high, std::uint32_t& low, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const std::uint32_t half = a ^ b;
  high = (a & b) | (half & c);
  low = half ^ c;
}

/// 32 counters: slice l has bit l of each.
struct SlicedCounters {
  std::uint32_t slices[kNumSlices] = {};

  STILLBIT_WARP void add(const std::uint32_t (&words)[8]) {
    std::uint32_t twos_a, twos_b, fours_a, fours_b, carry;
    add3(twos_a, slices[0], slices[0], words[0], words[1]);
    add3(twos_b, slices[0], slices[0], words[2], words[3]);
    add3(fours_a, slices[1], slices[1], twos_a, twos_b);
    add3(twos_a, slices[0], slices[0], words[4], words[5]);
    add3(twos_b, slices[0], slices[0], words[6], words[7]);
    add3(fours_b, slices[1], slices[1], twos_a, twos_b);
    add3(carry, slices[2], slices[2], fours_a, fours_b);
    STILLBIT_UNROLL
    for (unsigned i = 3; i < kNumSlices; ++i) {
      const std::uint32_t slice = slices[i];
      slices[i] = slice ^ carry;
      carry &= slice;
    }
  }

  [[nodiscard]] STILLBIT_WARP std::uint32_t count(unsigned bit) const {
    std::uint32_t sum = 0;
    STILLBIT_UNROLL
    for (unsigned i = 0; i < kNumSlices; ++i) sum |= (slices[i] >> bit & 1U) << i;
    return sum;
  }
};

/// Takes the four bytes at `offset` of 8 laps, from `lap` on; those behind the source's end are zeros. Only what
/// belongs to the source is read. The loads of a case do not wait for each other.
STILLBIT_WARP void load_laps(const BitCount& job, std::uint64_t lap, std::uint64_t offset, std::uint32_t (&words)[8]) {
  const std::uint64_t end = job.num_rows * job.row_bytes;
  const std::uint64_t first = lap * job.lap_bytes + offset;
  const std::uint64_t last = first + 7 * job.lap_bytes;
  const auto misalignment = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(job.src) % 4);
  const auto* const src = reinterpret_cast<const std::uint32_t*>(job.src + first - misalignment);
  const std::uint64_t stride = job.lap_bytes / 4;
  if (misalignment == 0 && last + 4 <= end) {
    STILLBIT_UNROLL
    for (unsigned i = 0; i < 8; ++i) words[i] = src[i * stride];
  } else if (first >= misalignment && last - misalignment + 8 <= end) {
    STILLBIT_UNROLL
    for (unsigned i = 0; i < 8; ++i)
      words[i] = warp::funnel_shift_right(src[i * stride], src[i * stride + 1], 8 * misalignment);
  } else {
    STILLBIT_UNROLL
    for (unsigned i = 0; i < 8; ++i) {
      words[i] = 0;
      for (std::uint64_t byte = 0; byte < 4; ++byte) {
        const std::uint64_t at = first + i * job.lap_bytes + byte;
        if (at < end) words[i] |= static_cast<std::uint32_t>(job.src[at]) << (8 * byte);
      }
    }
  }
}

/// Adds the counts of the four bytes at `offset` of a lap to those of the row. Inside each.
template <class Warp>
STILLBIT_WARP void add_counts(Warp& warp, const BitCount& job, const SlicedCounters& counters, std::uint64_t offset) {
  for (unsigned byte = 0; byte < 4; ++byte) {
    std::uint64_t* const ones = job.ones + (offset + byte) % job.row_bytes * 8;
    for (unsigned bit = 0; bit < 8; ++bit) {
      const std::uint32_t count = counters.count(8 * byte + bit);
      if (count != 0) warp.fetch_add(ones + bit, std::uint64_t{count});
    }
  }
}

/// One of `num_warps` warps' part of a count: neighbouring warps take neighbouring strips of the same laps.
template <class Warp>
STILLBIT_WARP void count_bits(Warp& warp, const BitCount& job, std::uint64_t warp_number, std::uint64_t num_warps) {
  const std::uint64_t laps = num_laps(job);
  const std::uint64_t strips = num_strips(job);
  const std::uint64_t parts = (laps + job.part_laps - 1) / job.part_laps;
  for (std::uint64_t task = warp_number; task < strips * parts; task += num_warps) {
    const std::uint64_t first_lap = task / strips * job.part_laps;
    const std::uint64_t end_lap = first_lap + job.part_laps < laps ? first_lap + job.part_laps : laps;
    warp.each([&](unsigned lane) {
      const std::uint64_t offset = task % strips * kStripBytes + 4 * lane;
      if (offset >= job.lap_bytes) return;
      SlicedCounters counters;
      for (std::uint64_t lap = first_lap; lap < end_lap; lap += 8) {
        std::uint32_t words[8];
        load_laps(job, lap, offset, words);
        counters.add(words);
      }
      add_counts(warp, job, counters, offset);
    });
  }
}

}  // namespace stillbit
