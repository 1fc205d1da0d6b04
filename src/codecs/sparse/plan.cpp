#include "codecs/sparse/kernels.hpp"
#include "codecs/sparse/sparse.hpp"
#include "codecs/sparse/value_coding.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace stillbit::sparse {
namespace {

/// Words that say whether a view promises anything, and what its background is.
constexpr std::size_t kScreenedWords = 4096;
constexpr std::size_t kScreenedWindowWords = 512;

/// Words that a dictionary and a window are chosen for.
constexpr std::size_t kCollectedWords = 65536;
constexpr std::size_t kWindowWords = 2048;

/// Views that promise to be at most so much larger than the best, and than what is known to be enough, are tried on the
/// whole sample.
constexpr double kViewTolerance = 1.15;

/// A view that is worth trying.
struct Draft {
  unsigned view_bytes = 1;
  std::uint64_t background = 0;
  double density = 0;  ///< the share of words that are not the background
  double share = 1;    ///< of its bits that the tensor would still take
};

/// Words from all over the sample, at most `max_words`.
std::vector<std::uint64_t> spread_words(Bytes sample, unsigned view_bytes, std::size_t max_words) {
  constexpr std::size_t kNumRuns = 64;
  const std::size_t num_words = sample.size() / view_bytes;
  const std::size_t num_runs = num_words > max_words ? kNumRuns : 1;
  const std::size_t run_words = std::min(num_words, max_words) / num_runs;
  std::vector<std::uint64_t> words(num_runs * run_words);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t at = i / run_words * (num_words / num_runs) + i % run_words;
    std::memcpy(&words[i], sample.data() + at * view_bytes, view_bytes);
  }
  return words;
}

/// Bits per column that do not depend on how many elements there are.
double fixed_bits(unsigned low_bits) {
  return low_bits == 0 ? 1 : std::ldexp(1, -static_cast<int>(low_bits));
}

/// Bits that an element's position takes.
unsigned position_bits(unsigned low_bits) {
  return low_bits == 0 ? 0 : low_bits + 1;
}

unsigned likely_low_bits(double density, unsigned column_bits) {
  unsigned best = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (unsigned low_bits = 0; low_bits <= column_bits; ++low_bits) {
    const double price = fixed_bits(low_bits) + density * position_bits(low_bits);
    if (price >= lowest) continue;
    lowest = price;
    best = low_bits;
  }
  return best;
}

CodingPrices coding_prices(unsigned view_bytes, std::uint64_t num_columns, unsigned low_bits, double weight) {
  Plan plan;
  plan.row_bytes = num_columns * view_bytes;
  plan.view_bytes = view_bytes;
  return {view_bytes, position_bits(low_bits), row_price(plan).exception_bits, weight};
}

std::optional<Draft> screen(const PlanInput& input, unsigned view_bytes) {
  const std::vector<std::uint64_t> words = spread_words(input.sample, view_bytes, kScreenedWords);
  const WordCounts counts(words);
  const WordCounts::Entry& most_frequent = counts.by_count()[0];
  const auto num_words = static_cast<double>(words.size());
  const double word_bits = 8.0 * view_bytes;
  // Not even a bitmap is paid for by what the background saves.
  if (static_cast<double>(most_frequent.count) * word_bits < num_words) return std::nullopt;

  Draft draft{view_bytes, most_frequent.word, 0, 0};
  std::vector<std::uint64_t> present;
  for (const std::uint64_t word : words) {
    if (word != draft.background) present.push_back(word);
  }
  draft.density = static_cast<double>(present.size()) / num_words;
  const std::uint64_t num_columns = input.geometry.row_bytes / view_bytes;
  const unsigned low_bits = likely_low_bits(draft.density, column_bits_for(num_columns));
  double num_bits = num_words * fixed_bits(low_bits);
  if (!present.empty()) {
    const double weight = static_cast<double>(input.geometry.num_bytes()) / (num_words * view_bytes);
    const CodingPrices prices = coding_prices(view_bytes, num_columns, low_bits, std::max(weight, 1.0));
    num_bits += std::min(cheapest_dictionary(WordCounts(present), prices).num_bits,
                         cheapest_window(present, kScreenedWindowWords, prices).num_bits);
  }
  draft.share = num_bits / (num_words * word_bits);
  if (draft.share >= 1) return std::nullopt;
  return draft;
}

/// A plan with what it makes of the tensor, if all of it is as the sample is.
struct PricedPlan {
  Plan plan;
  double num_bytes = std::numeric_limits<double>::infinity();
};

double priced(const Plan& plan, const std::vector<RowCounts>& rows, std::uint64_t num_rows) {
  const RowPrice price = row_price(plan);
  double sum = 0;
  for (const RowCounts& row : rows) {
    const std::uint64_t num_bits =
        price.fixed_bits + row.num_elements * price.element_bits + row.num_exceptions * price.exception_bits;
    sum += static_cast<double>(std::min((num_bits + 7) / 8, plan.row_bytes));
  }
  return static_cast<double>(serialized_bytes(plan)) +
         sum / static_cast<double>(rows.size()) * static_cast<double>(num_rows);
}

/// Counts what the sample holds under the plan's coding, and tries every way to store positions.
void consider(Plan plan, const PlanInput& input, PricedPlan& best) {
  const RowLayoutStorage storage(plan);
  std::vector<RowCounts> counts(input.sample.size() / plan.row_bytes);
  kernels(plan.view_bytes).count(storage.layout(), input.sample.data(), counts.size(), counts.data());
  for (plan.low_bits = 0; plan.low_bits <= column_bits_for(plan.num_columns()); ++plan.low_bits) {
    if (minimum_row_bytes(plan) >= plan.row_bytes) continue;
    const double num_bytes = priced(plan, counts, input.geometry.num_rows);
    if (num_bytes < best.num_bytes) best = {plan, num_bytes};
  }
}

/// Chooses the coding for words from the whole sample.
void consider(const Draft& draft, const PlanInput& input, PricedPlan& best) {
  Plan plan;
  plan.row_bytes = input.geometry.row_bytes;
  plan.view_bytes = draft.view_bytes;
  plan.background = draft.background;
  plan.values = {draft.background};

  const RowLayoutStorage storage(plan);
  const std::uint64_t num_sampled = input.sample.size() / plan.row_bytes;
  const double expected = draft.density * static_cast<double>(input.sample.size()) / draft.view_bytes;
  const auto step = static_cast<std::uint64_t>(expected / kCollectedWords) + 1;
  std::vector<std::uint64_t> words(kCollectedWords);
  std::size_t num_words = 0;
  std::uint64_t num_looked_at = 0;
  for (std::uint64_t row = 0; row < num_sampled && num_words < words.size(); row += step, ++num_looked_at) {
    num_words += kernels(draft.view_bytes)
                     .collect(storage.layout(), input.sample.data() + row * plan.row_bytes, words.size() - num_words,
                              words.data() + num_words);
  }
  words.resize(num_words);
  if (words.empty()) return consider(std::move(plan), input, best);

  const double weight = static_cast<double>(input.geometry.num_rows) / static_cast<double>(num_looked_at);
  const unsigned low_bits = likely_low_bits(draft.density, column_bits_for(plan.num_columns()));
  const CodingPrices prices = coding_prices(draft.view_bytes, plan.num_columns(), low_bits, weight);
  const Coding codings[] = {cheapest_dictionary(WordCounts(words), prices),
                            cheapest_window(words, kWindowWords, prices)};
  // Both are estimates, and close ones: one that is behind by more than they may err is not tried.
  constexpr double kCodingTolerance = 1.02;
  const double lowest = std::min(codings[0].num_bits, codings[1].num_bits);
  for (const Coding& coding : codings) {
    if (coding.num_bits > kCodingTolerance * lowest) continue;
    plan.value_mode = coding.value_mode;
    plan.code_bits = coding.code_bits;
    plan.sign_bits = coding.sign_bits;
    plan.zero_bits = coding.zero_bits;
    plan.values = coding.values;
    consider(plan, input, best);
  }
}

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes || input.sample.empty()) return nullptr;

  std::vector<Draft> drafts;
  double smallest_share =
      std::min(1.0, static_cast<double>(input.enough_bytes) / static_cast<double>(input.geometry.num_bytes()));
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    if (row_bytes % view_bytes != 0) continue;
    const auto draft = screen(input, view_bytes);
    if (!draft) continue;
    drafts.push_back(*draft);
    smallest_share = std::min(smallest_share, draft->share);
  }
  PricedPlan best;
  for (const Draft& draft : drafts) {
    // Few words may say too little of the elements' own values: they are tried whatever they promise.
    const bool is_native = draft.view_bytes == input.element_bytes;
    if (is_native || draft.share <= kViewTolerance * smallest_share) consider(draft, input, best);
  }
  if (best.num_bytes >= static_cast<double>(input.geometry.num_bytes())) return nullptr;
  return make(std::move(best.plan));
}

}  // namespace stillbit::sparse
