#include "codecs/dictionary/price.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace stillbit::dictionary {
namespace {

/// What a patch costs besides its bits: it takes as long to decode as several elements that are none.
constexpr double kPatchPrice = 1;

/// Dictionaries are tried with the words that occur so often and more. (A word that occurs once costs less as a miss.)
constexpr std::uint64_t kLeastCounts[] = {2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64};

/// Distinct words of a column as the kind sees them: with their sign or without.
struct Domain {
  bool has_sign = false;
  unsigned bits = 0;            ///< of a word without sign
  std::vector<Counted> sorted;  ///< by word
  double num_words = 0;
  std::uint64_t num_single = 0;  ///< words that occur once
  unsigned shift = 0;
};

Domain make_domain(const Pricing& pricing, std::span<const Counted> words, bool has_sign) {
  Domain domain;
  domain.has_sign = has_sign;
  domain.bits = 8 * pricing.view_bytes - (has_sign ? 1 : 0);
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - domain.bits);
  domain.sorted.assign(words.begin(), words.end());
  std::uint64_t any = 0;
  for (Counted& counted : domain.sorted) any |= counted.word &= mask;
  std::sort(domain.sorted.begin(), domain.sorted.end(), [](auto a, auto b) { return a.word < b.word; });
  std::size_t size = 0;
  for (const Counted& counted : domain.sorted) {
    if (size > 0 && domain.sorted[size - 1].word == counted.word) {
      domain.sorted[size - 1].count += counted.count;
    } else {
      domain.sorted[size++] = counted;
    }
  }
  domain.sorted.resize(size);
  for (const Counted& counted : domain.sorted) {
    domain.num_words += static_cast<double>(counted.count);
    domain.num_single += counted.count == 1 ? 1 : 0;
  }
  const unsigned all_shift = any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
  domain.shift = pricing.scale > 1 ? std::min(all_shift, pricing.free_shift) : all_shift;
  return domain;
}

double plan_bits(const Pricing& pricing, std::uint64_t num_entries, unsigned number_bits) {
  return 8.0 * static_cast<double>(serialized_bytes(pricing.view_bytes, num_entries, number_bits));
}

/// What it costs on average that words that were not counted cannot be encoded: each of those is new about as often as
/// one that was counted occurred for the only time.
double risk_bits(const Pricing& pricing, const Domain& domain) {
  return (static_cast<double>(domain.num_single) + 0.5) * (pricing.scale - 1) * pricing.row_bits;
}

unsigned range_bits(const Domain& domain) {
  return static_cast<unsigned>(
      std::bit_width((domain.sorted.back().word - domain.sorted.front().word) >> domain.shift));
}

/// Width of the numbers of misses: what was counted, or any word where that risks too many raw rows.
unsigned miss_bits_for(const Pricing& pricing, const Domain& domain) {
  const unsigned range = range_bits(domain);
  const unsigned all = domain.bits - domain.shift;
  const double gain = pricing.scale * static_cast<double>(domain.num_single) * (all - range);
  // A new lowest or highest word is as likely as that one of those counted is that.
  const double risk = 2 * (pricing.scale - 1) * pricing.row_bits;
  return risk <= gain ? range : all;
}

void keep_cheaper(PricedKind& best, const PricedKind& other) {
  if (other.num_bits < best.num_bits) best = other;
}

/// `is_exact`: the domain has all distinct words of the column, not only some.
void consider_windows(const Pricing& pricing, const Domain& domain, bool is_exact, PricedKind& best) {
  const std::vector<Counted>& sorted = domain.sorted;
  const unsigned width = range_bits(domain);
  const unsigned sign_bits = domain.has_sign ? 1 : 0;
  const auto kind_of = [&](unsigned code_bits, unsigned number_bits, std::uint64_t first) {
    return Kind{code_bits, domain.has_sign, code_bits < number_bits, domain.shift, number_bits, first >> domain.shift,
                {}};
  };
  const auto price_of = [&](unsigned code_bits, unsigned number_bits, double num_misses) {
    return pricing.scale * (domain.num_words * (code_bits + sign_bits) + num_misses * (number_bits + kPatchPrice)) +
           plan_bits(pricing, 0, 0);
  };
  if (is_exact) {
    keep_cheaper(best,
                 {kind_of(width, width, sorted.front().word), price_of(width, width, 0) + risk_bits(pricing, domain)});
  }
  const unsigned miss_bits = is_exact ? miss_bits_for(pricing, domain) : domain.bits - domain.shift;
  double last_price = std::numeric_limits<double>::max();
  unsigned num_worse = 0;
  // A code more than the range has values, for the marker.
  for (unsigned code_bits = std::min(width + 1, miss_bits); code_bits-- > 1 && num_worse < 2;) {
    // The place where the window has the most words: the last word it reaches only grows as its first one does.
    const std::uint64_t span = ((std::uint64_t{1} << code_bits) - 2) << domain.shift;
    std::uint64_t inside = 0;
    std::uint64_t most = 0;
    std::uint64_t first = 0;
    std::size_t end = 0;
    for (const Counted& start : sorted) {
      while (end < sorted.size() && sorted[end].word - start.word <= span) inside += sorted[end++].count;
      if (inside > most) {
        most = inside;
        first = start.word;
      }
      inside -= start.count;
    }
    const double price = price_of(code_bits, miss_bits, domain.num_words - static_cast<double>(most));
    keep_cheaper(best, {kind_of(code_bits, miss_bits, first), price});
    num_worse = price < last_price ? 0 : num_worse + 1;
    last_price = price;
  }
}

/// A dictionary before its entries are put together.
struct Choice {
  std::uint64_t num_entries = 0;
  unsigned code_bits = 0;
  bool has_misses = false;
  double num_bits = std::numeric_limits<double>::max();
};

void consider_dictionaries(const Pricing& pricing, const Domain& domain, PricedKind& best) {
  std::vector<Counted> common = domain.sorted;
  std::stable_sort(common.begin(), common.end(), [](auto a, auto b) { return a.count > b.count; });
  std::vector<double> covered(common.size() + 1);  // words that the first i entries stand for
  for (std::size_t i = 0; i < common.size(); ++i) covered[i + 1] = covered[i] + static_cast<double>(common[i].count);
  const unsigned range = range_bits(domain);
  const unsigned sign_bits = domain.has_sign ? 1 : 0;
  const unsigned miss_bits = miss_bits_for(pricing, domain);

  Choice choice;
  const auto consider = [&](std::uint64_t num_entries, bool has_misses) {
    if (num_entries == 0 || num_entries > kMaxEntries) return;
    const unsigned number_bits = has_misses ? miss_bits : range;
    const double num_misses = domain.num_words - covered[num_entries];
    for (unsigned code_bits = 0; code_bits <= kMaxDictionaryCodeBits; ++code_bits) {
      const std::uint64_t num_codes = std::uint64_t{1} << code_bits;
      if (num_codes > 2 * num_entries) break;
      const bool has_marker = has_misses || num_entries > num_codes;
      const std::uint64_t num_coded = std::min(num_entries, num_codes - (has_marker ? 1 : 0));
      const double num_patches = domain.num_words - (has_marker ? covered[num_coded] : domain.num_words);
      const std::uint64_t num_rest = num_entries - num_coded;
      const auto patch_bits = has_marker ? std::bit_width(has_misses ? num_rest : num_rest - 1) : 0;
      const double num_bits =
          pricing.scale * (domain.num_words * (code_bits + sign_bits) +
                           num_patches * (static_cast<double>(patch_bits) + kPatchPrice) + num_misses * number_bits) +
          plan_bits(pricing, num_entries, number_bits) + (has_misses ? 0 : risk_bits(pricing, domain));
      if (num_bits < choice.num_bits) choice = {num_entries, code_bits, has_misses, num_bits};
    }
  };
  consider(common.size(), false);
  for (const std::uint64_t least : kLeastCounts) {
    const auto end = std::partition_point(common.begin(), common.end(), [&](auto a) { return a.count >= least; });
    consider(static_cast<std::uint64_t>(end - common.begin()), true);
  }
  // As many entries as leave no code without one, in one tier or in two.
  const auto num_twice = static_cast<std::uint64_t>(
      std::partition_point(common.begin(), common.end(), [](auto a) { return a.count >= 2; }) - common.begin());
  const bool may_have_misses = domain.num_single > 0 || pricing.scale > 1;
  for (std::uint64_t first = 1; may_have_misses && first - 1 <= num_twice && first <= 256; first *= 2) {
    for (std::uint64_t rest = 1; first + rest - 2 <= num_twice; rest *= 2) consider(first + rest - 2, true);
  }
  if (choice.num_bits >= best.num_bits) return;

  Kind kind{choice.code_bits,
            domain.has_sign,
            choice.has_misses,
            domain.shift,
            choice.has_misses ? miss_bits : range,
            domain.sorted.front().word >> domain.shift,
            {}};
  if (choice.has_misses && miss_bits > range) kind.base = 0;
  for (std::uint64_t i = 0; i < choice.num_entries; ++i)
    kind.entries.push_back((common[i].word >> domain.shift) - kind.base);
  // Sorted where their order has no meaning, so that columns with the same words have the same kind.
  const auto middle = kind.entries.begin() + static_cast<std::ptrdiff_t>(kind.num_coded());
  std::sort(kind.entries.begin(), middle);
  std::sort(middle, kind.entries.end());
  best = {std::move(kind), choice.num_bits};
}

bool any_sign(const Pricing& pricing, std::span<const Counted> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const Counted& counted) { return counted.word >> (8 * pricing.view_bytes - 1) != 0; });
}

}  // namespace

PricedKind raw_kind(const Pricing& pricing, double num_words) {
  const unsigned bits = 8 * pricing.view_bytes;
  return {Kind{bits, false, false, 0, bits, 0, {}}, pricing.scale * num_words * bits + plan_bits(pricing, 0, 0)};
}

PricedKind cheapest_kind(const Pricing& pricing, std::span<const Counted> words) {
  Domain domain = make_domain(pricing, words, false);
  PricedKind best = raw_kind(pricing, domain.num_words);
  consider_windows(pricing, domain, true, best);
  consider_dictionaries(pricing, domain, best);
  if (any_sign(pricing, words)) {
    domain = make_domain(pricing, words, true);
    consider_windows(pricing, domain, true, best);
    consider_dictionaries(pricing, domain, best);
  }
  return best;
}

PricedKind cheapest_window(const Pricing& pricing, std::span<const Counted> words) {
  Domain domain = make_domain(pricing, words, false);
  PricedKind best = raw_kind(pricing, domain.num_words);
  consider_windows(pricing, domain, false, best);
  if (any_sign(pricing, words)) {
    domain = make_domain(pricing, words, true);
    consider_windows(pricing, domain, false, best);
  }
  return best;
}

}  // namespace stillbit::dictionary
