#include "codecs/window/price.hpp"

#include "fields/unpacking.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace stillbit::window {
namespace {

/// Steps that a histogram has: as fine as exponents with several bits of mantissa.
constexpr unsigned kHistogramBits = 12;
constexpr std::size_t kNumSteps = std::size_t{1} << kHistogramBits;

std::uint64_t ones(unsigned num_bits) {
  return num_bits == 0 ? 0 : ~std::uint64_t{0} >> (64 - num_bits);
}

/// How many bits a difference needs besides its sign.
unsigned width_of(std::int64_t difference) {
  const auto bits = static_cast<std::uint64_t>(difference);
  return static_cast<unsigned>(std::bit_width(difference < 0 ? ~bits : bits));
}

/// The cheapest window whose ends lie on multiples of 2^shift (if it is 0: anywhere), by counting the differences of up
/// to `kHistogramBits` + shift bits.
Window cheapest_window(const Differences& differences, const View& view, unsigned shift) {
  const std::uint64_t lowest = 0 - (std::uint64_t{1} << (kHistogramBits - 1 + shift));
  std::vector<std::uint32_t> below(kNumSteps + 1);  // below[i + 1] counts, then adds up: how many are in steps 0 … i
  for (const std::int64_t difference : differences.values) {
    const std::uint64_t step = (static_cast<std::uint64_t>(difference) - lowest) >> shift;
    if (step < kNumSteps) ++below[step + 1];
  }
  for (std::size_t i = 0; i < kNumSteps; ++i) below[i + 1] += below[i];

  const std::uint64_t total = differences.values.size() + differences.num_left_out;
  const unsigned most_bits = std::min(differences.value_bits, fields::max_field_bits(view.view_bytes));
  Window best{0, 0, std::numeric_limits<double>::infinity()};
  for (unsigned bits = shift; bits <= std::min(most_bits, shift + kHistogramBits); ++bits) {
    // A field of no bits holds one value; the marker takes one from the others, which only matters where steps are
    // single values.
    const std::size_t num_steps = bits == 0 ? 1 : (std::size_t{1} << (bits - shift)) - (shift == 0 ? 1 : 0);
    std::size_t best_start = 0;
    std::size_t best_end = 0;  // of the starts that are equally good
    std::uint32_t most = 0;
    for (std::size_t start = 0; start + num_steps <= kNumSteps; ++start) {
      const std::uint32_t inside = below[start + num_steps] - below[start];
      if (inside > most) {
        most = inside;
        best_start = start;
        best_end = start;
      } else if (inside == most && best_end + 1 == start) {
        best_end = start;
      }
    }
    const std::uint64_t num_exceptions = total - most;
    if (bits == 0 && num_exceptions > 0) continue;
    const double num_bits = static_cast<double>(total) * bits + static_cast<double>(num_exceptions) * view.word_bits();
    if (num_bits >= best.num_bits) continue;
    const std::size_t start = best_start + (best_end - best_start) / 2;
    best = {bits, static_cast<std::int64_t>(lowest + (std::uint64_t{start} << shift)), num_bits};
  }
  return best;
}

}  // namespace

std::vector<unsigned> droppable_bits(std::span<const std::uint64_t> words, unsigned word_bits) {
  std::array<std::uint64_t, 65> num_with_zeros{};
  for (const std::uint64_t word : words) ++num_with_zeros[static_cast<unsigned>(std::countr_zero(word))];
  unsigned cautious = 0;
  unsigned cheapest = 0;
  std::uint64_t most_saved = 0;
  std::uint64_t num_exceptions = 0;
  for (unsigned bits = 1; bits < word_bits; ++bits) {
    num_exceptions += num_with_zeros[bits - 1];
    const std::uint64_t saved = words.size() * bits;
    const std::uint64_t price = num_exceptions * word_bits;
    if (num_exceptions * 100 <= words.size()) cautious = bits;
    if (saved <= price || saved - price <= most_saved) continue;
    most_saved = saved - price;
    cheapest = bits;
  }
  return cheapest == cautious ? std::vector{cautious} : std::vector{cautious, cheapest};
}

Differences differences_of(std::span<const std::uint64_t> words, const View& view) {
  Differences result{view.value_bits(), 0, {}, 0};
  const unsigned unused_bits = 64 - result.value_bits;
  const std::uint64_t dropped = ones(view.dropped_bits);
  const std::uint64_t magnitude = ones(view.word_bits() - 1);
  const auto value_of = [&](std::uint64_t word) {
    if (!view.is_signed) return word >> view.dropped_bits;
    return (word & magnitude) >> view.dropped_bits << 1 | word >> (view.word_bits() - 1);
  };
  constexpr std::size_t kFew = 255;
  std::vector<std::uint64_t> few;
  for (std::size_t i = 0; i < std::min(kFew, words.size()); ++i)
    few.push_back(value_of(words[words.size() * i / std::min(kFew, words.size())]));
  // Values on both sides of 0, as negative integers make them, have their middle there.
  const auto near_zero = [&](std::uint64_t value) { return static_cast<std::int64_t>(value << unused_bits); };
  const bool wraps = std::any_of(few.begin(), few.end(), [&](std::uint64_t value) { return near_zero(value) < 0; });
  const auto middle = few.begin() + static_cast<std::ptrdiff_t>(few.size() / 2);
  if (!view.is_signed && wraps) {
    std::nth_element(few.begin(), middle, few.end(),
                     [&](std::uint64_t a, std::uint64_t b) { return near_zero(a) < near_zero(b); });
  } else {
    std::nth_element(few.begin(), middle, few.end());
  }
  result.middle = *middle;
  result.values.reserve(words.size());
  for (const std::uint64_t word : words) {
    if ((word & dropped) != 0) continue;
    result.values.push_back(static_cast<std::int64_t>((value_of(word) - result.middle) << unused_bits) >> unused_bits);
  }
  result.num_left_out = words.size() - result.values.size();
  return result;
}

Window cheapest_window(const Differences& differences, const View& view) {
  std::array<std::uint64_t, 65> num_of_width{};
  for (const std::int64_t difference : differences.values) ++num_of_width[width_of(difference)];
  // Histograms that hold nearly all differences, most of them, and all: coarse ones serve wide spreads.
  Window best{0, 0, std::numeric_limits<double>::infinity()};
  unsigned last_shift = 64;
  for (const double share : {0.75, 0.97, 1.0}) {
    const double wanted = share * static_cast<double>(differences.values.size());
    std::uint64_t num_held = num_of_width[0];
    unsigned width = 0;
    while (static_cast<double>(num_held) < wanted && width < 63) num_held += num_of_width[++width];
    const unsigned shift = width < kHistogramBits ? 0 : width - (kHistogramBits - 1);
    if (shift == last_shift) continue;
    last_shift = shift;
    const Window window = cheapest_window(differences, view, shift);
    if (window.num_bits < best.num_bits) best = window;
  }
  return best;
}

}  // namespace stillbit::window
