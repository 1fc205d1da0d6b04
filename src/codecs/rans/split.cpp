#include "codecs/rans/split.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <optional>

namespace stillbit::rans {
namespace {

/// What is kept of words: no symbol has more.
constexpr unsigned kTopBits = 15;

/// What a frequency takes in a plan, about, and one that is 0.
constexpr double kEntryBits = 8;
constexpr double kNoEntryBits = 1;

/// Bits that an escape takes besides its code.
constexpr double kEscapeBits = 16;

using Counts = std::vector<double>;

template <class Word>
void take_tops(Bytes tile, SampledWords& words) {
  const unsigned below = 8 * static_cast<unsigned>(sizeof(Word)) - words.num_bits;
  std::uint64_t all = 0;
  const std::size_t first = words.tops.size();
  words.tops.resize(first + tile.size() / sizeof(Word));
  for (std::size_t i = 0; i < tile.size() / sizeof(Word); ++i) {
    const auto word = load<Word>(tile.data() + i * sizeof(Word));
    all |= word;
    words.tops[first + i] = static_cast<std::uint16_t>(word >> below);
  }
  words.all |= all;
}

/// The counts of symbols: of `num_bits` kept bits, those from the highest (or the one below it) on.
Counts symbol_counts(const Counts& tops, unsigned num_bits, unsigned sign_bits, unsigned symbol_bits) {
  const unsigned below = num_bits - sign_bits - symbol_bits;
  const std::size_t mask = (std::size_t{1} << symbol_bits) - 1;
  Counts counts(std::size_t{1} << symbol_bits);
  for (std::size_t top = 0; top < tops.size(); ++top) counts[top >> below & mask] += tops[top];
  return counts;
}

/// Two runs of symbols that have all that are counted more often than `threshold`, between the two longest gaps.
/// Symbols are seen as a ring: small numbers of both signs are neighbours.
struct Cover {
  SymbolRuns runs;
  std::uint32_t num_symbols = 0;
};

std::optional<Cover> cover(const Counts& counts, double threshold, std::uint32_t most) {
  std::vector<std::uint32_t> used;
  for (std::uint32_t symbol = 0; symbol < counts.size(); ++symbol) {
    if (counts[symbol] > threshold) used.push_back(symbol);
  }
  if (used.empty()) return std::nullopt;
  // Gap i lies behind the i-th used symbol.
  const auto size = static_cast<std::uint32_t>(counts.size());
  const auto gap_behind = [&](std::size_t i) { return (used[(i + 1) % used.size()] + size - used[i] - 1) % size; };
  std::size_t longest = 0;
  std::size_t second = used.size();
  for (std::size_t i = 1; i < used.size(); ++i) {
    if (gap_behind(i) > gap_behind(longest)) {
      second = longest;
      longest = i;
    } else if (second == used.size() || gap_behind(i) > gap_behind(second)) {
      second = i;
    }
  }
  if (second == used.size()) return Cover{{1, used[0], used[0]}, 1};
  // The first run comes behind the longest gap and ends with the symbol before the second.
  const auto behind = [&](std::size_t i) { return used[(i + 1) % used.size()]; };
  const auto run_length = [&](std::uint32_t from, std::uint32_t to) { return (to + size - from) % size + 1; };
  const std::uint32_t first_length = run_length(behind(longest), used[second]);
  const std::uint32_t second_length = run_length(behind(second), used[longest]);
  if (first_length + second_length > most) return std::nullopt;
  return Cover{{first_length, behind(longest), behind(second)}, first_length + second_length};
}

/// Bits that words of such symbols take with one table.
double table_bits(const Counts& counts, const Cover& cover, double total) {
  double covered = 0;
  double bits = 0;
  const auto mask = static_cast<std::uint32_t>(counts.size() - 1);
  for (std::uint32_t index = 0; index < cover.num_symbols; ++index) {
    const double count = counts[symbol_at_index(cover.runs, index) & mask];
    covered += count;
    bits += count > 0 ? kEntryBits - count * std::log2(count / total) : kNoEntryBits;
  }
  const double escapes = total - covered;
  if (escapes > 0) bits += kEntryBits + escapes * (kEscapeBits - std::log2(escapes / total));
  return bits;
}

/// The cheapest cover of the symbols: all that there are, or those that are not too rare.
void choose_cover(const Counts& counts, double total, std::optional<Split>& split) {
  double best_bits = 0;
  split.reset();
  for (int step = 0;; ++step) {
    const double threshold = step == 0 ? 0 : std::ldexp(1.0, 2 * (step - 1));  // 0, 1, 4, 16, …
    if (threshold >= total / 16) break;
    const auto covered = cover(counts, threshold, kMaxSymbols - 1);
    if (!covered) continue;
    const double bits = table_bits(counts, *covered, total);
    if (split && bits >= best_bits) continue;
    best_bits = bits;
    split.emplace();
    split->runs = covered->runs;
    split->num_symbols = covered->num_symbols;
    split->bits = bits;
  }
}

}  // namespace

SampledWords take_words(const PlanInput& input, unsigned view_bytes, std::uint64_t max_bytes) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  SampledWords words{view_bytes, std::min(8 * view_bytes, kTopBits), row_bytes / view_bytes, {}, 0};
  const std::uint64_t num_tiles = input.sample.size() / row_bytes;
  const std::uint64_t num_taken = std::clamp<std::uint64_t>(max_bytes / row_bytes, 1, num_tiles);
  words.tops.reserve(num_taken * words.num_columns);
  for (std::uint64_t i = 0; i < num_taken; ++i) {
    const Bytes tile = input.sample.subspan(num_tiles * i / num_taken * row_bytes, row_bytes);
    if (view_bytes == 1) take_tops<std::uint8_t>(tile, words);
    if (view_bytes == 2) take_tops<std::uint16_t>(tile, words);
    if (view_bytes == 4) take_tops<std::uint32_t>(tile, words);
    if (view_bytes == 8) take_tops<std::uint64_t>(tile, words);
  }
  return words;
}

std::vector<Split> cheapest_splits(const SampledWords& words) {
  std::vector<Split> splits;
  if (words.all == 0) return splits;
  Counts tops(std::size_t{1} << words.num_bits);
  for (const std::uint16_t top : words.tops) ++tops[top];
  const auto total = static_cast<double>(words.tops.size());
  const unsigned word_bits = 8 * words.view_bytes;
  const bool has_signs = (words.all >> (word_bits - 1) & 1) != 0;
  for (unsigned sign_bits = 0; sign_bits <= (has_signs ? 1U : 0U); ++sign_bits) {
    const unsigned most = std::min(max_symbol_bits(words.view_bytes, sign_bits), words.num_bits - sign_bits);
    for (unsigned symbol_bits = min_symbol_bits(words.view_bytes); symbol_bits <= most; ++symbol_bits) {
      std::optional<Split> split;
      choose_cover(symbol_counts(tops, words.num_bits, sign_bits, symbol_bits), total, split);
      if (!split) continue;
      split->sign_bits = sign_bits;
      split->symbol_bits = symbol_bits;
      split->dropped_bits =
          std::min(word_bits - sign_bits - symbol_bits, static_cast<unsigned>(std::countr_zero(words.all)));
      split->bits += total * split->fixed_bits(words.view_bytes);
      splits.push_back(*split);
    }
  }
  std::sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) { return a.bits < b.bits; });
  return splits;
}

std::vector<std::uint8_t> indices_of(const SampledWords& words, const Split& split) {
  const std::size_t mask = (std::size_t{1} << split.symbol_bits) - 1;
  std::vector<std::uint8_t> index_of_symbol(mask + 1, static_cast<std::uint8_t>(split.num_symbols));
  for (std::uint32_t index = split.num_symbols; index-- > 0;)
    index_of_symbol[symbol_at_index(split.runs, index) & mask] = static_cast<std::uint8_t>(index);
  const unsigned below = words.num_bits - split.sign_bits - split.symbol_bits;
  std::vector<std::uint8_t> indices(words.tops.size());
  std::transform(words.tops.begin(), words.tops.end(), indices.begin(),
                 [&](std::uint16_t top) { return index_of_symbol[top >> below & mask]; });
  return indices;
}

}  // namespace stillbit::rans
