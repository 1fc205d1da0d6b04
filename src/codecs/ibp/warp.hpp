#pragma once

#include "warp/output.hpp"

// How a warp expands a row (spec.md). Free bits lie in a row as they lie in its words, from the low end up, so that
// those of neighbouring words can be put into place together, whatever the view. A lane has a block of 16 bytes, in
// chunks of 32 bits. It counts the bits of its patches; where they are then follows from one sum over the warp.

namespace stillbit::ibp {

inline constexpr unsigned kBlockBytes = 16;
inline constexpr unsigned kBlockChunks = 4;

/// A plan as warps read it: one piece of memory, at an address that is a multiple of 8.
struct WarpPlan {
  std::uint32_t num_columns = 0;
  std::uint32_t num_blocks = 0;
  std::uint32_t num_static_bits = 0;  ///< P + F in spec.md
  std::uint32_t free_at = 0;          ///< P
  std::uint32_t places_at = 0;        ///< 0 where all blocks are alike, or where the places of all blocks are
  std::uint32_t block_free_bits = 0;  ///< of each block, where all are alike
  std::uint32_t block_checked = 0;
  std::uint32_t kinds_at = 0;
  std::uint32_t runs_at = 0;
  std::uint32_t reserved = 0;
};

/// What is known of a block before the row is.
struct BlockPlace {
  std::uint32_t free_at = 0;  ///< bit of the row where its free bits start
  std::uint32_t rank = 0;     ///< of its first participation bit
  std::uint32_t kind = 0;
};

/// Blocks that store the same bits are of one kind.
struct alignas(8) BlockKind {
  std::uint32_t values[kBlockChunks] = {};
  std::uint32_t patches[kBlockChunks] = {};  ///< the columns' patch masks
  std::uint8_t free_bits[kBlockChunks] = {};
  std::uint8_t num_runs[kBlockChunks] = {};
  std::uint32_t first_run = 0;
  std::uint32_t checked = 0;  ///< bit c: column c of the block has a participation bit
};

/// A run of ones in a chunk's free mask, and how far up its bits have to go.
struct alignas(8) FreeRun {
  std::uint32_t mask = 0;
  std::uint32_t shift = 0;
};

/// Puts the low bits of `bits`, in order, at the ones of `mask`. Goes run by run: masks have few runs of ones.
STILLBIT_WARP std::uint32_t deposit(std::uint32_t bits, std::uint32_t mask) {
  std::uint32_t word = 0;
  while (mask != 0) {
    const std::uint32_t above = mask + (mask & (0 - mask));
    const std::uint32_t run = mask & ~above;
    word |= (bits << warp::lowest_one(run)) & run;
    // A run of 32 ones is the whole mask: shifting by 31 and by 1 more is defined for it, too.
    bits = bits >> (warp::popcount(run) - 1) >> 1;
    mask &= above;
  }
  return word;
}

template <class Word_>
struct WarpCodec {
  using Word = Word_;
  using Plan = WarpPlan;
  static constexpr unsigned kBlockColumns = kBlockBytes / sizeof(Word);

  template <class Warp>
  STILLBIT_WARP static bool decode(Warp& warp, const Plan& plan, const warp::ByteRun& row, const warp::Output& out,
                                   std::byte*);

 private:
  struct Block {
    std::uint32_t words[kBlockChunks];
    std::uint32_t patches[kBlockChunks];  ///< masks of the bits that deviating columns store besides
  };

  /// What a plan's sections are.
  template <class T>
  STILLBIT_WARP static const T* section(const Plan& plan, std::uint32_t at) {
    return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(&plan) + at);
  }

  STILLBIT_WARP static BlockPlace place_of(const Plan& plan, std::uint32_t block) {
    if (plan.places_at == 0) return {plan.free_at + block * plan.block_free_bits, block * plan.block_checked, 0};
    return section<BlockPlace>(plan, plan.places_at)[block];
  }

  /// The bits of chunk `chunk` that columns have of which `columns` has a bit each.
  STILLBIT_WARP static std::uint32_t bits_of_columns(std::uint32_t columns, unsigned chunk) {
    if constexpr (sizeof(Word) == 1) {
      // Bit i goes to byte i, and there to all bits.
      return ((columns >> (4 * chunk) & 0xFU) * 0x00204081U & 0x01010101U) * 0xFFU;
    } else if constexpr (sizeof(Word) == 2) {
      return (columns >> (2 * chunk) & 1U) * 0x0000FFFFU | (columns >> (2 * chunk + 1) & 1U) * 0xFFFF0000U;
    } else if constexpr (sizeof(Word) == 4) {
      return 0 - (columns >> chunk & 1U);
    } else {
      return 0 - (columns >> (chunk / 2) & 1U);
    }
  }

  /// The columns of a block that deviate.
  STILLBIT_WARP static std::uint32_t deviating(const warp::ByteRun& row, std::uint32_t checked, std::uint32_t rank) {
    const unsigned num_checked = warp::popcount(checked);
    const std::uint32_t agree = row.bits(rank, num_checked);
    return agree == warp::low_mask(num_checked) ? 0 : checked & ~deposit(agree, checked);
  }

  /// Expands a block but for its patches, of which it finds out the masks. Returns their bits.
  STILLBIT_WARP static std::uint32_t expand_block(const Plan& plan, const warp::ByteRun& row, std::uint32_t number,
                                                  Block& block);
};

template <class Word>
STILLBIT_WARP std::uint32_t WarpCodec<Word>::expand_block(const Plan& plan, const warp::ByteRun& row,
                                                          std::uint32_t number, Block& block) {
  const BlockPlace place = place_of(plan, number);
  const BlockKind& kind = section<BlockKind>(plan, plan.kinds_at)[place.kind];
  const FreeRun* run = section<FreeRun>(plan, plan.runs_at) + kind.first_run;
  std::uint32_t at = place.free_at;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kBlockChunks; ++i) {
    const std::uint32_t bits = row.bits(at, 32);
    std::uint32_t word = kind.values[i];
    for (const FreeRun* const end = run + kind.num_runs[i]; run != end; ++run) word |= bits << run->shift & run->mask;
    block.words[i] = word;
    at += kind.free_bits[i];
  }
  // The last block may have columns that the row lacks.
  const std::uint32_t checked = kind.checked & warp::low_mask(plan.num_columns - number * kBlockColumns);
  const std::uint32_t columns = checked == 0 ? 0 : deviating(row, checked, place.rank);
  std::uint32_t num_bits = 0;
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kBlockChunks; ++i) {
    block.patches[i] = columns == 0 ? 0 : kind.patches[i] & bits_of_columns(columns, i);
    num_bits += warp::popcount(block.patches[i]);
  }
  return num_bits;
}

template <class Word>
template <class Warp>
STILLBIT_WARP bool WarpCodec<Word>::decode(Warp& warp, const Plan& plan, const warp::ByteRun& row,
                                           const warp::Output& out, std::byte*) {
  const std::uint32_t num_bits = row.num_bytes * 8;
  std::uint32_t patches_at = plan.num_static_bits;
  if (patches_at > num_bits) return false;
  for (std::uint32_t first = 0; first < plan.num_blocks; first += warp::kLanes) {
    warp::PerLane<Warp, Block> blocks;
    warp::PerLane<Warp, std::uint32_t> patch_at;
    warp::PerLane<Warp, bool> deviates;
    warp.each([&](unsigned lane) {
      patch_at[lane] = first + lane < plan.num_blocks ? expand_block(plan, row, first + lane, blocks[lane]) : 0;
      deviates[lane] = patch_at[lane] != 0;
    });
    if (warp.ballot(deviates) != 0) {
      const std::uint32_t num_patch_bits = warp::exclusive_sum(warp, patch_at);
      if (num_patch_bits > num_bits - patches_at) return false;
      warp.each([&](unsigned lane) {
        if (!deviates[lane]) return;
        std::uint32_t at = patches_at + patch_at[lane];
        STILLBIT_UNROLL
        for (unsigned i = 0; i < kBlockChunks; ++i) {
          const std::uint32_t mask = blocks[lane].patches[i];
          if (mask == 0) continue;
          blocks[lane].words[i] ^= deposit(row.bits(at, 32), mask);
          at += warp::popcount(mask);
        }
      });
      patches_at += num_patch_bits;
    }
    warp.each([&](unsigned lane) {
      if (first + lane < plan.num_blocks)
        warp::store_bytes<kBlockBytes>(out, (first + lane) * kBlockBytes, blocks[lane].words);
    });
  }
  return true;
}

}  // namespace stillbit::ibp
