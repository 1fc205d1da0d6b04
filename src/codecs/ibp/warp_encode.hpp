#pragma once

#include "warp/bit_writer.hpp"
#include "warp/lane_words.hpp"

// How a warp encodes a row (spec.md). A lane has eight neighbouring columns: where their participation bits and free
// bits go follows from the plan. The row is gone over twice: once for its size, and once to write it.

namespace stillbit::ibp {

/// A plan as warps encode with it: one piece of memory, at an address that is a multiple of 16.
struct EncodePlan {
  std::uint32_t num_columns = 0;
  std::uint32_t num_checked = 0;      ///< P in spec.md
  std::uint32_t num_static_bits = 0;  ///< P + F
  // Where each of these has a word for every column, filled up to whole lanes with zeros:
  std::uint32_t value_at = 0;
  std::uint32_t free_at = 0;
  std::uint32_t patch_at = 0;
  std::uint32_t places_at = 0;  ///< LanePlaces for each kLaneColumns columns
  std::uint32_t reserved = 0;
};

/// Where the bits of a lane's columns go.
struct LanePlaces {
  std::uint32_t participation = 0;
  std::uint32_t free = 0;
};

STILLBIT_WARP unsigned lowest_one(std::uint64_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<unsigned>(__ffsll(static_cast<long long>(bits)) - 1);
#else
  return static_cast<unsigned>(__builtin_ctzll(bits));
#endif
}
STILLBIT_WARP unsigned lowest_one(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<unsigned>(__ffs(static_cast<int>(bits)) - 1);
#else
  return static_cast<unsigned>(__builtin_ctz(bits));
#endif
}

STILLBIT_WARP unsigned num_ones(std::uint64_t bits) {
  return warp::popcount(static_cast<std::uint32_t>(bits)) + warp::popcount(static_cast<std::uint32_t>(bits >> 32));
}
STILLBIT_WARP unsigned num_ones(std::uint32_t bits) {
  return warp::popcount(bits);
}

/// The bits of `word` under `mask`, gathered to the low end, in order. Goes run by run: masks have few runs of ones.
template <class Number>
STILLBIT_WARP Number gathered(Number word, Number mask) {
  Number bits = 0;
  unsigned filled = 0;
  while (mask != 0) {
    const Number run = mask & ~(mask + (mask & (0 - mask)));
    bits |= (word & run) >> (lowest_one(run) - filled);
    filled += num_ones(run);
    mask ^= run;
  }
  return bits;
}

template <class Word_>
struct WarpEncoder {
  using Word = Word_;
  using Plan = EncodePlan;
  using Number = warp::NumberOf<Word>;

  /// Into `dst`, which is row.num_bytes zeros. Returns the stored size, or kStoredRaw.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t encode(Warp& warp, const Plan& plan, const warp::ByteRun& row, std::uint32_t* dst,
                                            std::byte*);

 private:
  static constexpr unsigned kWordBits = 8 * sizeof(Word);

  /// What is wanted of a lane's columns, and what they are.
  struct Columns {
    warp::LaneWords<Word> difference;  ///< from the value
    warp::LaneWords<Word> free;
    warp::LaneWords<Word> patch;
  };

  STILLBIT_WARP static warp::LaneWords<Word> masks_at(const Plan& plan, std::uint32_t at, std::uint32_t column) {
    return warp::aligned_words<Word>(reinterpret_cast<const std::byte*>(&plan) + at, column);
  }

  STILLBIT_WARP static Columns columns_of(const Plan& plan, const warp::ByteRun& row, std::uint32_t column) {
    Columns columns;
    columns.difference = warp::lane_words<Word>(row, column);
    columns.free = masks_at(plan, plan.free_at, column);
    columns.patch = masks_at(plan, plan.patch_at, column);
    const warp::LaneWords<Word> value = masks_at(plan, plan.value_at, column);
    STILLBIT_UNROLL
    for (unsigned i = 0; i < warp::LaneWords<Word>::kParts; ++i) columns.difference.parts[i] ^= value.parts[i];
    return columns;
  }

  /// Bits of the row, or kStoredRaw where a constant bit differs.
  template <class Warp>
  STILLBIT_WARP static std::uint32_t count_bits(Warp& warp, const Plan& plan, const warp::ByteRun& row);
};

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::count_bits(Warp& warp, const Plan& plan, const warp::ByteRun& row) {
  warp::PerLane<Warp, std::uint32_t> patch_bits;
  warp::PerLane<Warp, bool> is_broken;
  warp.each([&](unsigned lane) {
    patch_bits[lane] = 0;
    is_broken[lane] = false;
    for (std::uint32_t column = lane * warp::kLaneColumns; column < plan.num_columns; column += warp::kStepColumns) {
      const Columns columns = columns_of(plan, row, column);
      const std::uint32_t num_columns = plan.num_columns - column;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < warp::kLaneColumns; ++i) {
        if (i >= num_columns) continue;
        const Number difference = columns.difference[i];
        const Number patch = columns.patch[i];
        if ((difference & patch) != 0) patch_bits[lane] += num_ones(patch);
        is_broken[lane] = is_broken[lane] || (difference & ~(columns.free[i] | patch)) != 0;
      }
    }
  });
  if (warp.ballot(is_broken) != 0) return warp::kStoredRaw;
  return plan.num_static_bits + warp.sum(patch_bits);
}

template <class Word>
template <class Warp>
STILLBIT_WARP std::uint32_t WarpEncoder<Word>::encode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                                      std::uint32_t* dst, std::byte*) {
  using warp::kLaneColumns;
  const std::uint32_t num_bits = count_bits(warp, plan, row);
  if (num_bits == warp::kStoredRaw) return warp::kStoredRaw;
  const std::uint32_t num_bytes = (num_bits + 7) / 8;
  if (num_bytes >= row.num_bytes) return warp::kStoredRaw;

  const auto* const places =
      reinterpret_cast<const LanePlaces*>(reinterpret_cast<const std::byte*>(&plan) + plan.places_at);
  std::uint32_t patches_at = plan.num_static_bits;
  for (std::uint32_t first = 0; first < plan.num_columns; first += warp::kStepColumns) {
    warp::PerLane<Warp, std::uint32_t> deviating;
    warp::PerLane<Warp, std::uint32_t> patch_bits;
    warp.each([&](unsigned lane) {
      const std::uint32_t column = first + lane * kLaneColumns;
      deviating[lane] = 0;
      patch_bits[lane] = 0;
      if (column >= plan.num_columns) return;
      const Columns columns = columns_of(plan, row, column);
      const LanePlaces place = places[column / kLaneColumns];
      warp::LaneBits<Warp> free_bits(warp, dst, place.free);
      std::uint32_t agreeing = 0;
      unsigned num_checked = 0;
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        const Number patch = columns.patch[i];
        const bool deviates = (columns.difference[i] & patch) != 0;
        deviating[lane] |= static_cast<std::uint32_t>(deviates) << i;
        if (deviates) patch_bits[lane] += num_ones(patch);
        if (patch != 0) agreeing |= static_cast<std::uint32_t>(!deviates) << num_checked++;
        // Free bits of the value are zeros: those of the difference are the word's.
        const Number free = columns.free[i];
        if (free != 0) free_bits.put(gathered(columns.difference[i], free), num_ones(free));
      }
      free_bits.finish();
      warp::or_bits(warp, dst, place.participation, agreeing);
    });
    const std::uint32_t num_patch_bits = warp::exclusive_sum(warp, patch_bits);
    if (num_patch_bits == 0) continue;
    warp.each([&](unsigned lane) {
      if (deviating[lane] == 0) return;
      const Columns columns = columns_of(plan, row, first + lane * kLaneColumns);
      warp::LaneBits<Warp> patches(warp, dst, patches_at + patch_bits[lane]);
      STILLBIT_UNROLL
      for (unsigned i = 0; i < kLaneColumns; ++i) {
        if ((deviating[lane] >> i & 1) == 0) continue;
        const Number patch = columns.patch[i];
        patches.put(gathered(columns.difference[i], patch), num_ones(patch));
      }
      patches.finish();
    });
    patches_at += num_patch_bits;
  }
  return num_bytes;
}

}  // namespace stillbit::ibp
