#pragma once

#include "codecs/codec.hpp"
#include "codecs/rans/layout.hpp"

#include <cstdint>
#include <vector>

namespace stillbit::rans {

/// The first bits of the words of a sample: whole tiles, one after the other.
struct SampledWords {
  unsigned view_bytes = 0;
  unsigned num_bits = 0;          ///< that are kept of each word, from the highest on
  std::uint64_t num_columns = 0;  ///< of a tile
  std::vector<std::uint16_t> tops;
  std::uint64_t all = 0;  ///< all words, or'ed
};

/// Takes words of at most `max_bytes` of the sample, in tiles spread over it; of one tile at least.
[[nodiscard]] SampledWords take_words(const PlanInput& input, unsigned view_bytes, std::uint64_t max_bytes);

/// Which bits of a word make its symbol, and which symbols get an index.
struct Split {
  unsigned sign_bits = 0;
  unsigned symbol_bits = 0;
  unsigned dropped_bits = 0;
  SymbolRuns runs;
  std::uint32_t num_symbols = 0;  ///< with an index; the escape, where there is one, comes behind them
  double bits = 0;                ///< that the sampled words take, with one table

  [[nodiscard]] unsigned fixed_bits(unsigned view_bytes) const { return 8 * view_bytes - symbol_bits - dropped_bits; }
};

/// The ways to split the words, the cheapest first. None when the words are of one kind only, all zeros.
[[nodiscard]] std::vector<Split> cheapest_splits(const SampledWords& words);

/// The words' indices; `num_symbols`, the escape's, for symbols that have none.
[[nodiscard]] std::vector<std::uint8_t> indices_of(const SampledWords& words, const Split& split);

}  // namespace stillbit::rans
