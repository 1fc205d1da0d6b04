#include "codecs/escape/escape.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace stillbit::escape {
namespace {

/// A plan is made from at most this much of the sample, in tiles spread over it: tables of a few dozen symbols are
/// found on little data.
constexpr std::uint64_t kMaxSampleBytes = std::uint64_t{512} << 10;

/// Widths of tiers that are worth a try. Three tiers of 2, 2 and 3 bits come out best on most trained weights; 3-bit
/// tiers where the symbol takes mantissa bits in or where exponents are spread, 1-bit ones where one exponent rules.
using Widths = std::array<unsigned, kMaxTiers>;  // of 0 bits where there are fewer tiers
constexpr Widths kTierWidths[] = {{2, 2, 3}, {3, 3, 3}, {3, 3, 4}, {2, 2, 2}, {2, 2, 4}, {2, 3, 3}, {1, 2, 3},
                                  {1, 2, 2}, {1, 1, 2}, {3, 2, 3}, {3, 4, 4}, {4, 4, 4}, {2, 3},    {3, 3},
                                  {3, 4},    {4, 4},    {1, 3},    {1},       {2},       {3},       {4}};

using Counts = std::vector<std::uint64_t>;
using Symbols = std::vector<std::uint16_t>;

/// The symbols of a part of the sample: whole tiles, one after the other.
struct SampledSymbols {
  unsigned view_bytes = 0;
  unsigned symbol_bits = 0;
  std::uint64_t num_columns = 0;  ///< of a tile
  Symbols symbols;
  std::uint64_t all = 0;  ///< all words, or'ed

  [[nodiscard]] std::uint64_t num_tiles() const { return symbols.size() / num_columns; }
};

template <class Word>
void take_symbols(Bytes tile, unsigned symbol_bits, SampledSymbols& taken) {
  const unsigned symbol_at = 8 * sizeof(Word) - 1 - symbol_bits;
  std::uint64_t all = 0;
  const std::size_t first = taken.symbols.size();
  taken.symbols.resize(first + tile.size() / sizeof(Word));
  std::uint16_t* symbols = taken.symbols.data() + first;
  for (std::size_t i = 0; i < tile.size() / sizeof(Word); ++i) {
    const auto word = load<Word>(tile.data() + i * sizeof(Word));
    all |= word;
    symbols[i] = static_cast<std::uint16_t>(word >> symbol_at & low_mask(symbol_bits));
  }
  taken.all |= all;
}

SampledSymbols take_symbols(const PlanInput& input, unsigned view_bytes) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  SampledSymbols taken{view_bytes, max_symbol_bits(view_bytes), row_bytes / view_bytes, {}, 0};
  const std::uint64_t num_tiles = input.sample.size() / row_bytes;
  const std::uint64_t num_taken = std::clamp<std::uint64_t>(kMaxSampleBytes / row_bytes, 1, num_tiles);
  taken.symbols.reserve(num_taken * taken.num_columns);
  for (std::uint64_t i = 0; i < num_taken; ++i) {
    const Bytes tile = input.sample.subspan(num_tiles * i / num_taken * row_bytes, row_bytes);
    if (view_bytes == 1) take_symbols<std::uint8_t>(tile, taken.symbol_bits, taken);
    if (view_bytes == 2) take_symbols<std::uint16_t>(tile, taken.symbol_bits, taken);
    if (view_bytes == 4) take_symbols<std::uint32_t>(tile, taken.symbol_bits, taken);
    if (view_bytes == 8) take_symbols<std::uint64_t>(tile, taken.symbol_bits, taken);
  }
  return taken;
}

/// Symbols of fewer bits: the highest ones of each.
SampledSymbols narrowed(const SampledSymbols& from, unsigned symbol_bits) {
  SampledSymbols result = from;
  result.symbol_bits = symbol_bits;
  for (std::uint16_t& symbol : result.symbols)
    symbol = static_cast<std::uint16_t>(symbol >> (from.symbol_bits - symbol_bits));
  return result;
}

Counts counts_of(const SampledSymbols& sampled) {
  // Neighbours are counted apart: a count that was raised a moment ago would be waited for.
  constexpr std::size_t kNumParts = 4;
  const std::size_t num_symbols = std::size_t{1} << sampled.symbol_bits;
  std::vector<std::uint32_t> parts(kNumParts * num_symbols);
  for (std::size_t i = 0; i < sampled.symbols.size(); ++i) ++parts[i % kNumParts * num_symbols + sampled.symbols[i]];
  Counts counts(num_symbols);
  for (std::size_t i = 0; i < parts.size(); ++i) counts[i % num_symbols] += parts[i];
  return counts;
}

/// The counts of symbols of fewer bits: those of all symbols that begin with them.
Counts narrowed(const Counts& counts, unsigned dropped_bits) {
  Counts result(counts.size() >> dropped_bits);
  for (std::size_t symbol = 0; symbol < counts.size(); ++symbol) result[symbol >> dropped_bits] += counts[symbol];
  return result;
}

/// A choice of tiers, and the bits that codes, counts and written out symbols then take.
struct Tiers {
  std::vector<Tier> tiers;
  std::uint64_t num_bits = 0;
};

/// Gives the commonest symbols to the first tier, the next ones to the second … and takes the widths with the lowest
/// price. A tier behind the first costs `later_tier_bits`, whatever it has. Where a tier has codes to spare they repeat
/// its last symbol.
Tiers cheapest_tiers(const Counts& counts, unsigned symbol_size, std::uint64_t later_tier_bits) {
  std::vector<std::uint16_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::uint16_t{0});
  constexpr std::size_t kMostCoded = kMaxTiers * 15;
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(kMostCoded, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](std::uint16_t a, std::uint16_t b) {
    return counts[a] != counts[b] ? counts[a] > counts[b] : a < b;
  });
  const auto total = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});

  Tiers best;
  Widths best_widths{};
  for (const Widths& widths : kTierWidths) {
    std::uint64_t left = total;
    std::uint64_t num_bits = 0;
    std::size_t next = 0;
    for (const unsigned width : widths) {
      if (width > 0 && next > 0) num_bits += later_tier_bits;
      num_bits += left * width;
      const std::size_t last = std::min(order.size(), next + low_mask(width));
      for (; next < last; ++next) left -= counts[order[next]];
    }
    num_bits += left * 8 * symbol_size;
    if (best_widths.front() > 0 && num_bits >= best.num_bits) continue;
    best.num_bits = num_bits;
    best_widths = widths;
  }
  std::size_t next = 0;
  for (const unsigned width : best_widths) {
    if (width == 0) break;
    Tier tier{width, {}};
    for (std::uint64_t i = 0; i < low_mask(width); ++i, ++next)
      tier.symbols.push_back(order[std::min(next, order.size() - 1)]);
    best.tiers.push_back(std::move(tier));
  }
  return best;
}

/// How far from the mean a symbol may be and still count as one of its row or column: zeros should not.
constexpr unsigned kReach = 8;

/// The rounded mean of the symbols that differ from a center by at most `reach`.
class MeanNear {
 public:
  MeanNear(std::uint16_t center, unsigned reach) : center_(center), reach_(reach) {}

  /// Without branches, so that compilers make vectors of it.
  void add(std::uint32_t symbol) {
    const std::uint32_t is_near = symbol + reach_ - center_ <= 2 * reach_ ? 1 : 0;
    sum_ += is_near * symbol;
    num_near_ += is_near;
  }
  /// The center where no symbol is near.
  [[nodiscard]] std::uint16_t value() const {
    return static_cast<std::uint16_t>(num_near_ == 0 ? center_ : (sum_ + num_near_ / 2) / num_near_);
  }

 private:
  std::uint32_t center_;
  std::uint32_t reach_;
  std::uint32_t sum_ = 0;
  std::uint32_t num_near_ = 0;
};

/// Subtracts from each column's symbols their middle: the mean of those near the mean of all. Returns the middles.
Symbols shift_columns(SampledSymbols& sampled, std::uint64_t num_columns) {
  const auto mask = low_mask(sampled.symbol_bits);
  const auto for_each_row = [&](const auto& body) {
    for (std::size_t first = 0; first + num_columns <= sampled.symbols.size(); first += num_columns)
      body(sampled.symbols.data() + first);
  };
  std::vector<MeanNear> means(num_columns, MeanNear(0, static_cast<unsigned>(mask)));
  for (const bool last : {false, true}) {
    for_each_row([&](const std::uint16_t* row) {
      for (std::uint64_t column = 0; column < num_columns; ++column) means[column].add(row[column]);
    });
    if (last) break;
    for (MeanNear& mean : means) mean = MeanNear(mean.value(), kReach);
  }
  Symbols shifts(num_columns);
  for (std::uint64_t column = 0; column < num_columns; ++column) shifts[column] = means[column].value();
  for_each_row([&](std::uint16_t* row) {
    for (std::uint64_t column = 0; column < num_columns; ++column)
      row[column] = static_cast<std::uint16_t>((row[column] - shifts[column]) & mask);
  });
  return shifts;
}

void shift_rows(SampledSymbols& sampled) {
  const auto mask = low_mask(sampled.symbol_bits);
  for (std::uint64_t tile = 0; tile < sampled.num_tiles(); ++tile) {
    const std::span<std::uint16_t> symbols =
        std::span(sampled.symbols).subspan(tile * sampled.num_columns, sampled.num_columns);
    MeanNear all(0, static_cast<unsigned>(mask));
    for (const std::uint16_t symbol : symbols) all.add(symbol);
    MeanNear near(all.value(), kReach);
    for (const std::uint16_t symbol : symbols) near.add(symbol);
    const std::uint16_t middle = near.value();
    for (std::uint16_t& symbol : symbols) symbol = static_cast<std::uint16_t>((symbol - middle) & mask);
  }
}

/// The cheapest plan so far.
struct Best {
  std::optional<Plan> plan;
  double bytes = 0;  ///< of the whole tensor, by the part of the sample that was looked at

  void consider(const PlanInput& input, const SampledSymbols& sampled, unsigned symbol_bits, const Counts& counts,
                bool row_shifts, const Symbols& column_shifts) {
    Plan candidate;
    candidate.row_bytes = input.geometry.row_bytes;
    candidate.view_bytes = sampled.view_bytes;
    candidate.symbol_bits = symbol_bits;
    const unsigned rest_bits = 8 * sampled.view_bytes - 1 - symbol_bits;
    candidate.sign_bits = sampled.all >> (8 * sampled.view_bytes - 1) & 1;
    candidate.dropped_bits = std::min(rest_bits, static_cast<unsigned>(std::countr_zero(sampled.all)));
    candidate.row_shifts = row_shifts;
    candidate.column_shifts = column_shifts;
    // Of each row: a count, and half a byte on average, since each plane ends at a whole byte.
    const std::uint64_t later_tier_bits = sampled.num_tiles() * (count_bits(candidate) + 4);
    Tiers tiers = cheapest_tiers(counts, candidate.symbol_size(), later_tier_bits);
    candidate.tiers = std::move(tiers.tiers);
    if (minimum_row_bytes(candidate) >= candidate.row_bytes) return;

    const auto count = static_cast<double>(sampled.symbols.size());
    const double bits_per_word = static_cast<double>(tiers.num_bits) / count + candidate.fixed_bits();
    const double row_bytes =
        bits_per_word * static_cast<double>(sampled.num_columns) / 8 + (row_shifts ? candidate.symbol_size() : 0);
    const double all_bytes =
        row_bytes * static_cast<double>(input.geometry.num_rows) + static_cast<double>(serialized_bytes(candidate));
    if (plan && all_bytes >= bytes) return;
    bytes = all_bytes;
    plan = std::move(candidate);
  }
};

void consider_view(const PlanInput& input, unsigned view_bytes, Best& best) {
  const SampledSymbols widest = take_symbols(input, view_bytes);
  if (widest.all == 0) return;
  Best of_view;
  const Counts counts = counts_of(widest);
  for (unsigned bits = min_symbol_bits(view_bytes); bits <= widest.symbol_bits; ++bits)
    of_view.consider(input, widest, bits, narrowed(counts, widest.symbol_bits - bits), false, {});
  // Shifts gain a few per cent: not enough where another view is far better.
  if (!of_view.plan || (best.plan && of_view.bytes > 1.1 * best.bytes)) return;

  // The symbol that serves best without shifts is the one to try them on.
  const unsigned bits = of_view.plan->symbol_bits;
  SampledSymbols shifted = narrowed(widest, bits);
  const auto consider = [&](const SampledSymbols& symbols, bool row_shifts, const Symbols& column_shifts) {
    of_view.consider(input, symbols, bits, counts_of(symbols), row_shifts, column_shifts);
  };
  SampledSymbols by_row = shifted;
  shift_rows(by_row);
  consider(by_row, true, {});
  const std::uint64_t period = input.period_bytes / view_bytes;
  if (input.period_bytes % view_bytes == 0 && period > 1) {
    const Symbols column_shifts = shift_columns(shifted, period);
    consider(shifted, false, column_shifts);
    shift_rows(shifted);
    consider(shifted, true, column_shifts);
  }
  if (best.plan && of_view.bytes >= best.bytes) return;
  best = std::move(of_view);
}

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes || input.sample.empty()) return nullptr;
  Best best;
  // The element's own size first: it is mostly the best, and others are then given up on early.
  if (row_bytes % input.element_bytes == 0) consider_view(input, input.element_bytes, best);
  for (const unsigned view_bytes : {2U, 4U, 8U, 1U}) {
    if (view_bytes != input.element_bytes && row_bytes % view_bytes == 0) consider_view(input, view_bytes, best);
  }
  if (!best.plan || best.bytes >= static_cast<double>(input.geometry.num_bytes())) return nullptr;
  return make(*best.plan);
}

}  // namespace stillbit::escape
