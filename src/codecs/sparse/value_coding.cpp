#include "codecs/sparse/value_coding.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace stillbit::sparse {
namespace {

std::uint64_t low_ones(unsigned num_bits) noexcept {
  return num_bits == 0 ? 0 : ~std::uint64_t{0} >> (64 - num_bits);
}

/// Zeros at the low end of a word; of a word of zeros as many as a window may leave out.
unsigned num_low_zeros(std::uint64_t word, unsigned most) noexcept {
  return std::min(static_cast<unsigned>(std::countr_zero(word)), most);
}

struct Run {
  std::uint64_t first = 0;
  std::size_t num_words = 0;
};

/// The run of `max_offset` + 1 neighbouring magnitudes that the most of the sorted ones lie in. Behind the largest
/// comes the smallest.
Run fullest_run(const std::vector<std::uint64_t>& magnitudes, std::uint64_t mask, std::uint64_t max_offset) {
  Run best;
  const std::size_t num_words = magnitudes.size();
  std::size_t end = 0;
  for (std::size_t begin = 0; begin < num_words; ++begin) {
    end = std::max(end, begin);
    const auto is_inside = [&](std::size_t i) {
      const std::uint64_t magnitude = magnitudes[i < num_words ? i : i - num_words];
      return ((magnitude - magnitudes[begin]) & mask) <= max_offset;
    };
    while (end < begin + num_words && is_inside(end)) ++end;
    if (end - begin > best.num_words) best = {magnitudes[begin], end - begin};
    if (best.num_words == num_words) break;
  }
  return best;
}

/// Tries every width of the codes.
void consider_windows(const std::vector<std::uint64_t>& words, unsigned sign_bits, unsigned zero_bits,
                      const CodingPrices& prices, Coding& best) {
  const unsigned word_bits = 8 * prices.view_bytes;
  const std::uint64_t mask = low_ones(word_bits - sign_bits - zero_bits);
  std::vector<std::uint64_t> magnitudes;
  magnitudes.reserve(words.size());
  for (const std::uint64_t word : words) {
    if ((word & low_ones(zero_bits)) == 0) magnitudes.push_back((word >> zero_bits) & mask);
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  for (unsigned code_bits = sign_bits; code_bits <= word_bits - zero_bits; ++code_bits) {
    const Run run = fullest_run(magnitudes, mask, low_ones(code_bits - sign_bits));
    const std::size_t num_exceptions = words.size() - run.num_words;
    const double num_bits = static_cast<double>(run.num_words) * static_cast<double>(code_bits + prices.position_bits) +
                            static_cast<double>(num_exceptions) * static_cast<double>(prices.exception_bits);
    if (num_bits < best.num_bits) best = {ValueMode::kWindow, code_bits, sign_bits, zero_bits, {run.first}, num_bits};
    if (run.num_words == magnitudes.size()) break;
  }
}

}  // namespace

WordCounts::WordCounts(std::span<const std::uint64_t> words) {
  struct Place {
    std::uint64_t word = 0;
    std::uint32_t count = 0;
  };
  std::vector<Place> places(std::bit_ceil(2 * words.size() + 2));
  const auto shift = static_cast<unsigned>(std::countl_zero(places.size() - 1));
  std::size_t num_distinct = 0;
  for (const std::uint64_t word : words) {
    std::size_t i = word * kHashFactor >> shift;
    while (places[i].count != 0 && places[i].word != word) i = (i + 1) & (places.size() - 1);
    num_distinct += places[i].count == 0 ? 1 : 0;
    places[i] = {word, places[i].count + 1};
  }
  entries_.reserve(num_distinct);
  for (const Place& place : places) {
    if (place.count > 0) entries_.push_back({place.word, place.count});
  }
  const auto single =
      std::partition(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.count > 1; });
  std::sort(entries_.begin(), single,
            [](const Entry& a, const Entry& b) { return a.count != b.count ? a.count > b.count : a.word < b.word; });
}

Coding cheapest_dictionary(const WordCounts& counts, const CodingPrices& prices) {
  // A word that occurs once says nothing of words that are not counted: there it would be another one. Only where all
  // words are counted is it worth what it saves.
  const bool is_sampled = prices.weight > 1;
  double total = 0;
  std::size_t num_repeated = 0;
  for (const WordCounts::Entry& entry : counts.by_count()) {
    total += static_cast<double>(entry.count);
    num_repeated += entry.count > 1 ? 1 : 0;
  }
  const std::size_t num_candidates = std::max<std::size_t>(1, is_sampled ? num_repeated : counts.by_count().size());
  const double bits_per_value = 8.0 * prices.view_bytes / prices.weight;

  Coding best;
  best.num_bits = std::numeric_limits<double>::infinity();
  std::size_t best_size = 1;
  double num_elements = 0;
  const std::size_t max_size = std::min<std::size_t>(num_candidates, kMaxValues);
  for (std::size_t size = 1; size <= max_size; ++size) {
    num_elements += static_cast<double>(counts.by_count()[size - 1].count);
    const unsigned code_bits = code_bits_for(size);
    const double num_bits = num_elements * static_cast<double>(code_bits + prices.position_bits) +
                            (total - num_elements) * static_cast<double>(prices.exception_bits) +
                            static_cast<double>(size) * bits_per_value;
    if (num_bits >= best.num_bits) continue;
    best.num_bits = num_bits;
    best.code_bits = code_bits;
    best_size = size;
  }
  best.values.reserve(best_size);
  for (std::size_t i = 0; i < best_size; ++i) best.values.push_back(counts.by_count()[i].word);
  return best;
}

Coding cheapest_window(std::span<const std::uint64_t> words, std::size_t max_words, const CodingPrices& prices) {
  const std::size_t step = (words.size() + max_words - 1) / max_words;
  std::vector<std::uint64_t> looked_at;
  for (std::size_t i = 0; i < words.size(); i += step) looked_at.push_back(words[i]);

  const unsigned word_bits = 8 * prices.view_bytes;
  std::size_t num_with_sign = 0;
  std::vector<std::size_t> with_low_zeros(word_bits);
  for (const std::uint64_t word : looked_at) {
    num_with_sign += word >> (word_bits - 1);
    ++with_low_zeros[num_low_zeros(word, word_bits - 2)];
  }
  // Low bits that are zero in all words, or in all but 1 in 16, which become exceptions.
  const auto zero_bits_but_for = [&](std::size_t num_others) {
    unsigned zero_bits = 0;
    for (std::size_t below = with_low_zeros[0]; below <= num_others && zero_bits < word_bits - 2;) {
      below += with_low_zeros[++zero_bits];
    }
    return zero_bits;
  };
  const unsigned always = zero_bits_but_for(0);
  const unsigned mostly = zero_bits_but_for(looked_at.size() / 16);

  Coding best;
  best.num_bits = std::numeric_limits<double>::infinity();
  for (const unsigned sign_bits : {0U, 1U}) {
    if (sign_bits == 1 && (num_with_sign == 0 || num_with_sign == looked_at.size())) continue;
    consider_windows(looked_at, sign_bits, always, prices, best);
    if (mostly != always) consider_windows(looked_at, sign_bits, mostly, prices, best);
  }
  best.num_bits *= static_cast<double>(words.size()) / static_cast<double>(looked_at.size());
  best.num_bits += word_bits / prices.weight;  // the base
  return best;
}

}  // namespace stillbit::sparse
