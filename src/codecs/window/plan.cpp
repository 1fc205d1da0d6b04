#include "codecs/window/price.hpp"
#include "codecs/window/window.hpp"
#include "core/words.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

namespace stillbit::window {
namespace {

/// Windows are priced on this many words, in runs spread over the sample: they are told from few.
constexpr std::uint64_t kMaxWords = 32768;
constexpr std::uint64_t kRunWords = 256;

/// Bases for columns are looked for on this many words of each column at most, and at least.
constexpr std::uint64_t kMaxWordsOfColumn = 32;
constexpr std::uint64_t kMinWordsOfColumn = 8;
constexpr std::uint64_t kMaxWordsOfColumns = 131072;

/// Finalists are measured on so much of the sample.
constexpr std::uint64_t kMeasuredBytes = std::uint64_t{1} << 19;

std::vector<std::uint64_t> some_words(Bytes sample, unsigned view_bytes) {
  const std::uint64_t num_words = sample.size() / view_bytes;
  const std::uint64_t num_runs = std::max<std::uint64_t>(1, std::min(num_words, kMaxWords) / kRunWords);
  const std::uint64_t run_words = num_words < kRunWords ? num_words : kRunWords;
  std::vector<std::uint64_t> words;
  words.reserve(num_runs * run_words);
  for (std::uint64_t run = 0; run < num_runs; ++run) {
    const std::uint64_t first = num_runs == 1 ? 0 : (num_words - run_words) * run / (num_runs - 1);
    for (std::uint64_t i = 0; i < run_words; ++i)
      words.push_back(load_word(sample.data() + (first + i) * view_bytes, view_bytes));
  }
  return words;
}

std::uint64_t low_ones(unsigned num_bits) {
  return num_bits == 0 ? 0 : ~std::uint64_t{0} >> (64 - num_bits);
}

/// Bases are stored in the fewest bytes that hold them.
void set_bases(Plan& plan, unsigned base_shift, std::vector<std::uint64_t> bases) {
  plan.base_shift = base_shift;
  const std::uint64_t most = *std::max_element(bases.begin(), bases.end()) >> base_shift;
  plan.base_bytes = std::min(plan.view_bytes, std::bit_ceil((static_cast<unsigned>(std::bit_width(most | 1)) + 7) / 8));
  plan.bases = std::move(bases);
}

Plan plan_of(const PlanInput& input, const View& view, const Differences& differences, const Window& window) {
  Plan plan;
  plan.row_bytes = input.geometry.row_bytes;
  plan.view_bytes = view.view_bytes;
  plan.is_signed = view.is_signed;
  plan.dropped_bits = view.dropped_bits;
  plan.field_bits = window.field_bits;
  const std::uint64_t base =
      (differences.middle + static_cast<std::uint64_t>(window.base)) & low_ones(view.value_bits());
  set_bases(plan, 0, {base});
  return plan;
}

/// A view of the tensor's words with the cheapest window for them.
struct Viewed {
  View view;
  Differences differences;
  Window window;
};

std::optional<Viewed> cheapest_view(std::span<const std::uint64_t> words, unsigned view_bytes) {
  std::optional<Viewed> best;
  for (const unsigned dropped_bits : droppable_bits(words, 8 * view_bytes)) {
    for (const bool is_signed : {true, false}) {
      const View view{view_bytes, is_signed, dropped_bits};
      Differences differences = differences_of(words, view);
      if (differences.values.empty()) continue;
      const Window window = cheapest_window(differences, view);
      if (best && window.num_bits >= best->window.num_bits) continue;
      best = Viewed{view, std::move(differences), window};
    }
  }
  return best;
}

/// Some words of every column, as differences from the middle of all, ascending within a column. Bits that would be
/// dropped are ignored.
struct ColumnDifferences {
  std::uint64_t num_columns = 0;
  std::uint64_t num_words = 0;  ///< of each column
  std::vector<std::int64_t> values;

  [[nodiscard]] std::span<const std::int64_t> of(std::uint64_t column) const {
    return std::span(values).subspan(column * num_words, num_words);
  }
};

std::optional<ColumnDifferences> take_columns(const PlanInput& input, const Viewed& viewed) {
  const View& view = viewed.view;
  if (input.period_bytes % view.view_bytes != 0 || input.period_bytes == 0) return std::nullopt;
  ColumnDifferences taken;
  taken.num_columns = input.period_bytes / view.view_bytes;
  const std::uint64_t num_rows = input.sample.size() / input.period_bytes;
  taken.num_words =
      std::min({kMaxWordsOfColumn, num_rows, kMaxWordsOfColumns / std::max<std::uint64_t>(1, taken.num_columns)});
  if (taken.num_columns < 2 || taken.num_words < kMinWordsOfColumn) return std::nullopt;

  const unsigned unused_bits = 64 - view.value_bits();
  const std::uint64_t magnitude = low_ones(view.word_bits() - 1);
  taken.values.resize(taken.num_columns * taken.num_words);
  for (std::uint64_t i = 0; i < taken.num_words; ++i) {
    const std::byte* row = input.sample.data() + num_rows * i / taken.num_words * input.period_bytes;
    for (std::uint64_t column = 0; column < taken.num_columns; ++column) {
      const std::uint64_t word = load_word(row + column * view.view_bytes, view.view_bytes);
      const std::uint64_t value = view.is_signed
                                      ? (word & magnitude) >> view.dropped_bits << 1 | word >> (view.word_bits() - 1)
                                      : word >> view.dropped_bits;
      taken.values[column * taken.num_words + i] =
          static_cast<std::int64_t>((value - viewed.differences.middle) << unused_bits) >> unused_bits;
    }
  }
  for (std::uint64_t column = 0; column < taken.num_columns; ++column) {
    const auto first = taken.values.begin() + static_cast<std::ptrdiff_t>(column * taken.num_words);
    std::sort(first, first + static_cast<std::ptrdiff_t>(taken.num_words));
  }
  return taken;
}

/// The base, a multiple of 2^shift, whose window of `field_bits` holds the most values of one column. Ascending values
/// are given as differences from `middle`.
struct ColumnBase {
  std::uint64_t base = 0;
  std::uint64_t num_inside = 0;
};

ColumnBase best_base(std::span<const std::int64_t> values, std::uint64_t middle, unsigned field_bits, unsigned shift) {
  const std::uint64_t num_offsets = field_bits == 0 ? 1 : low_ones(field_bits);
  ColumnBase best;
  std::size_t end = 0;
  // Behind the first of as many as the best window has there are too few.
  for (std::size_t first = 0; first + best.num_inside < values.size(); ++first) {
    const std::uint64_t lowest = middle + static_cast<std::uint64_t>(values[first]);
    std::uint64_t base = lowest >> shift << shift;
    const auto offset_of = [&](std::size_t i) { return middle + static_cast<std::uint64_t>(values[i]) - base; };
    end = std::max(end, first);
    while (end < values.size() && offset_of(end) < num_offsets) ++end;
    if (end - first <= best.num_inside) continue;
    // What room is left is shared between both ends.
    const std::uint64_t room = num_offsets - 1 - offset_of(end - 1);
    const std::uint64_t lowered = base - (room / 2 >> shift << shift);
    if (lowered <= base) base = lowered;
    best = {base, end - first};
  }
  return best;
}

/// A plan with a base for each column, or nothing when none is cheaper than `num_bits_to_beat` bits for a word.
std::optional<Plan> plan_of_columns(const PlanInput& input, const Viewed& viewed, double num_bits_to_beat) {
  const std::optional<ColumnDifferences> columns = take_columns(input, viewed);
  if (!columns) return std::nullopt;
  const View& view = viewed.view;
  const auto num_words = static_cast<double>(columns->values.size());
  const double all_words = static_cast<double>(input.geometry.num_bytes()) / view.view_bytes;
  std::optional<Plan> best;
  const unsigned widest = viewed.window.field_bits;
  for (unsigned bits = widest; bits > 0 && bits + 6 > widest; --bits) {
    const unsigned base_shift = std::min(bits > 4 ? bits - 4 : 0, view.value_bits() - 1);
    std::vector<std::uint64_t> bases;
    std::uint64_t num_inside = 0;
    for (std::uint64_t column = 0; column < columns->num_columns; ++column) {
      const ColumnBase found = best_base(columns->of(column), viewed.differences.middle, bits, base_shift);
      bases.push_back(found.base & low_ones(view.value_bits()));
      num_inside += found.num_inside;
    }
    Plan plan = plan_of(input, view, viewed.differences, viewed.window);
    plan.field_bits = bits;
    set_bases(plan, base_shift, std::move(bases));
    const double num_bits = bits + (num_words - static_cast<double>(num_inside)) / num_words * view.word_bits() +
                            8 * static_cast<double>(serialized_bytes(plan)) / all_words;
    if (num_bits >= num_bits_to_beat) continue;
    num_bits_to_beat = num_bits;
    best = std::move(plan);
  }
  return best;
}

/// The input with less of a sample, in whole rows.
PlanInput with_short_sample(const PlanInput& input) {
  PlanInput result = input;
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  const std::uint64_t num_rows = std::max<std::uint64_t>(1, kMeasuredBytes / row_bytes);
  result.sample = input.sample.first(std::min(input.sample.size(), num_rows * row_bytes));
  return result;
}

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes || input.sample.empty()) return nullptr;
  std::optional<Viewed> best;
  for (const unsigned view_bytes : {input.element_bytes, input.element_bytes / 2}) {
    // Halves of an element serve where it is a pair; narrower ones have little in common.
    if (view_bytes == input.element_bytes / 2 && view_bytes != 4) continue;
    if (view_bytes == 0 || view_bytes > 8 || !std::has_single_bit(view_bytes) || row_bytes % view_bytes != 0) continue;
    std::optional<Viewed> viewed = cheapest_view(some_words(input.sample, view_bytes), view_bytes);
    if (!viewed) continue;
    const auto bits_per_byte = [](const Viewed& of) {
      const std::uint64_t num_words = of.differences.values.size() + of.differences.num_left_out;
      return of.window.num_bits / static_cast<double>(num_words) / of.view.view_bytes;
    };
    if (!best || bits_per_byte(*viewed) < bits_per_byte(*best)) best = std::move(viewed);
  }
  if (!best) return nullptr;
  const PlanInput measured = with_short_sample(input);
  std::unique_ptr<RowCodec> codec;
  std::uint64_t lowest = input.geometry.num_bytes();
  const auto consider = [&](const Plan& candidate) {
    if (minimum_row_bytes(candidate) >= row_bytes) return;
    auto proposed = make(candidate);
    const std::uint64_t num_bytes = estimated_bytes(*proposed, measured);
    if (num_bytes >= lowest) return;
    lowest = num_bytes;
    codec = std::move(proposed);
  };
  consider(plan_of(input, best->view, best->differences, best->window));
  const std::uint64_t num_words = best->differences.values.size() + best->differences.num_left_out;
  const double bits_per_word = best->window.num_bits / static_cast<double>(num_words);
  if (const auto candidate = plan_of_columns(input, *best, bits_per_word)) consider(*candidate);
  return codec;
}

}  // namespace stillbit::window
