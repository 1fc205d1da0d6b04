#include "codecs/dictionary/dictionary.hpp"
#include "codecs/dictionary/price.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stillbit::dictionary {
namespace {

/// Columns whose words are gathered in one pass over the rows: those of a memory line or so.
constexpr std::uint64_t kBlockColumns = 16;

/// Words of a column that are looked at to decide whether it is worth counting all of them: as many as make these in
/// all columns together, within limits.
constexpr std::uint64_t kProbedWords = std::uint64_t{1} << 17;
constexpr std::uint64_t kMinProbed = 32;
constexpr std::uint64_t kMaxProbed = 256;

/// Words of a column that are counted: as many as make these in all columns together, within limits.
constexpr std::uint64_t kCountedWords = std::uint64_t{1} << 20;
constexpr std::uint64_t kMinCounted = 512;
constexpr std::uint64_t kMaxCounted = std::uint64_t{1} << 17;

/// A window that takes a larger share of the raw bits than this is not worth its plan.
constexpr double kMaxWindowShare = 0.8;

/// Columns that are looked at to decide whether the others have to be, and how many of their words: a window that is
/// the cheapest of few words is too cheap. What all columns take is told from these by their mean, which may be wrong
/// by so many of its standard errors.
constexpr std::uint64_t kTriedColumns = 32;
constexpr std::uint64_t kTriedWords = 256;
constexpr double kDoubt = 3;

/// Of the raw bits what columns take with nothing to gain.
constexpr double kNothing = 0.999;

/// Fewer rows than this are not worth a plan with columns.
constexpr std::uint64_t kMinRows = 8;

/// With more distinct words among so many, nearly all, a column needs no dictionary.
std::uint64_t most_distinct(std::uint64_t num_words) {
  return num_words - num_words / 8;
}

/// The columns of the sample, whatever tiles they lie in.
struct Columns {
  Bytes sample;
  std::uint64_t period_bytes;
  unsigned view_bytes;

  [[nodiscard]] std::uint64_t num_columns() const { return period_bytes / view_bytes; }
  [[nodiscard]] std::uint64_t num_rows() const { return sample.size() / period_bytes; }

  /// `num_words` words, evenly spread, of each of the columns from `first` to `end`, a column after the other.
  void gather(std::uint64_t first, std::uint64_t end, std::uint64_t num_words,
              std::vector<std::uint64_t>& words) const {
    words.resize((end - first) * num_words);
    switch (view_bytes) {
      case 1:
        return gather_words<std::uint8_t>(first, end, num_words, words.data());
      case 2:
        return gather_words<std::uint16_t>(first, end, num_words, words.data());
      case 4:
        return gather_words<std::uint32_t>(first, end, num_words, words.data());
      default:
        return gather_words<std::uint64_t>(first, end, num_words, words.data());
    }
  }

 private:
  template <class Word>
  void gather_words(std::uint64_t first, std::uint64_t end, std::uint64_t num_words, std::uint64_t* words) const {
    for (std::uint64_t i = 0; i < num_words; ++i) {
      const std::byte* row = sample.data() + i * num_rows() / num_words * period_bytes;
      for (std::uint64_t column = first; column < end; ++column)
        words[(column - first) * num_words + i] = load<Word>(row + column * sizeof(Word));
    }
  }
};

/// How many low bits of each column's words are zero in the whole tensor, as far as the statistics know.
std::vector<unsigned> free_shifts(const PlanInput& input, const Columns& columns) {
  std::vector<unsigned> shifts(columns.num_columns());
  const BitStatistics& statistics = input.statistics;
  if (statistics.num_rows() == 0 || statistics.row_bytes() % columns.period_bytes != 0) return shifts;
  const std::vector<std::uint64_t> ones = statistics.row_bytes() == columns.period_bytes
                                              ? statistics.ones()
                                              : statistics.folded(columns.period_bytes).ones();
  const unsigned word_bits = 8 * columns.view_bytes;
  for (std::uint64_t column = 0; column < shifts.size(); ++column) {
    unsigned& shift = shifts[column];
    while (shift + 1 < word_bits && ones[column * word_bits + shift] == 0) ++shift;
  }
  return shifts;
}

/// Finds the kinds of the columns of a sample.
class Planner {
 public:
  Planner(const PlanInput& input, const Columns& columns)
      : columns_(columns),
        shifts_(free_shifts(input, columns)),
        num_rows_(columns.num_rows()),
        num_probed_(std::min(num_rows_, std::clamp(kProbedWords / columns.num_columns(), kMinProbed, kMaxProbed))),
        tensor_rows_(static_cast<double>(input.geometry.num_bytes()) / static_cast<double>(columns.period_bytes)),
        row_bits_(8.0 * static_cast<double>(input.geometry.row_bytes)),
        enough_share_(static_cast<double>(input.enough_bytes) / static_cast<double>(input.geometry.num_bytes())),
        raw_(raw_kind(pricing(0, num_probed_), static_cast<double>(num_probed_))) {}

  /// The kinds of all columns; none when they would not make the tensor smaller.
  std::vector<Kind> cheapest_kinds();

 private:
  [[nodiscard]] Pricing pricing(std::uint64_t column, std::uint64_t num_words) const {
    return {columns_.view_bytes, tensor_rows_ / static_cast<double>(num_words), row_bits_, shifts_[column]};
  }
  double price_column(std::uint64_t column);
  bool is_hopeless();
  [[nodiscard]] std::uint64_t num_to_count(std::span<const Counted> probed) const;
  bool keep(std::uint64_t column, PricedKind priced, double most_bits);
  void plan_block(std::uint64_t first, std::uint64_t end);

  const Columns& columns_;
  std::vector<unsigned> shifts_;
  std::uint64_t num_rows_;
  std::uint64_t num_probed_;
  double tensor_rows_;
  double row_bits_;
  double enough_share_;
  PricedKind raw_;
  WordCounter counter_;
  std::vector<std::uint64_t> words_;
  std::vector<Kind> kinds_;
  std::uint64_t num_entries_ = 0;
  bool any_ = false;
};

/// How many words of a column to count for a dictionary; 0 when it needs none.
std::uint64_t Planner::num_to_count(std::span<const Counted> probed) const {
  if (probed.size() > most_distinct(num_probed_)) return 0;
  const double share = collision_entropy(probed, num_probed_) / (8 * columns_.view_bytes);
  if (share > 0.9) return 0;
  const std::uint64_t share_of_all = (share > 0.5 ? kCountedWords / 4 : kCountedWords) / columns_.num_columns();
  const std::uint64_t num_words = std::min(num_rows_, std::clamp(share_of_all, kMinCounted, kMaxCounted));
  // Where little can be gained, not much time is spent.
  return share > 0.5 && share_of_all < kMinCounted ? 0 : num_words;
}

/// What a column takes.
double Planner::price_column(std::uint64_t column) {
  columns_.gather(column, column + 1, num_probed_, words_);
  const auto probed = counter_.count(words_, num_probed_).value_or(std::span<const Counted>());
  if (const std::uint64_t num_words = num_to_count(probed); num_words > 0) {
    columns_.gather(column, column + 1, num_words, words_);
    const auto counted = counter_.count(words_, std::min(most_distinct(num_words), kMaxEntries));
    return counted ? std::min(cheapest_kind(pricing(column, num_words), *counted).num_bits, raw_.num_bits)
                   : raw_.num_bits;
  }
  const std::uint64_t num_words = std::max(num_probed_, std::min(num_rows_, kTriedWords));
  columns_.gather(column, column + 1, num_words, words_);
  const auto counted = counter_.count(words_, num_words).value_or(std::span<const Counted>());
  const double num_bits = cheapest_window(pricing(column, num_words), counted).num_bits;
  return num_bits > kMaxWindowShare * raw_.num_bits ? raw_.num_bits : num_bits;
}

/// Whether a few columns, spread over the row, leave no doubt that all of them together take more than is known to be
/// enough.
bool Planner::is_hopeless() {
  const std::uint64_t num_columns = columns_.num_columns();
  const std::uint64_t num_tried = std::min(num_columns, kTriedColumns);
  double sum = 0;
  double sum_of_squares = 0;
  for (std::uint64_t i = 0; i < num_tried; ++i) {
    const double share = price_column(i * num_columns / num_tried) / raw_.num_bits;
    sum += share;
    sum_of_squares += share * share;
  }
  const auto n = static_cast<double>(num_tried);
  const double mean = sum / n;
  const double variance = std::max(0.0, sum_of_squares / n - mean * mean);
  const double error = num_tried == num_columns ? 0 : std::sqrt(variance / n);
  return mean - kDoubt * error > std::min(enough_share_, kNothing);
}

/// Gives a column the kind with this price, if it is one that pays.
bool Planner::keep(std::uint64_t column, PricedKind priced, double most_bits) {
  if (priced.num_bits >= most_bits) return false;
  num_entries_ += priced.kind.entries.size();
  kinds_[column] = std::move(priced.kind);
  any_ = true;
  return true;
}

void Planner::plan_block(std::uint64_t first, std::uint64_t end) {
  columns_.gather(first, end, num_probed_, words_);
  std::uint64_t num_words[kBlockColumns] = {};
  std::uint64_t most_words = 0;
  const auto keep_window = [&](std::uint64_t column, std::span<const Counted> probed) {
    keep(column, cheapest_window(pricing(column, num_probed_), probed), kMaxWindowShare * raw_.num_bits);
  };
  for (std::uint64_t column = first; column < end; ++column) {
    const auto part = std::span(words_).subspan((column - first) * num_probed_, num_probed_);
    const auto probed = counter_.count(part, num_probed_).value_or(std::span<const Counted>());
    num_words[column - first] = num_to_count(probed);
    most_words = std::max(most_words, num_words[column - first]);
    if (num_words[column - first] == 0) keep_window(column, probed);
  }
  if (most_words == 0) return;
  columns_.gather(first, end, most_words, words_);
  std::vector<std::uint64_t> probed_words;
  for (std::uint64_t column = first; column < end; ++column) {
    if (num_words[column - first] == 0) continue;
    const auto part = std::span(words_).subspan((column - first) * most_words, most_words);
    const auto counted = counter_.count(part, std::min(most_distinct(most_words), kMaxEntries));
    if (counted && keep(column, cheapest_kind(pricing(column, most_words), *counted), raw_.num_bits)) continue;
    columns_.gather(column, column + 1, num_probed_, probed_words);
    keep_window(column, counter_.count(probed_words, num_probed_).value_or(std::span<const Counted>()));
  }
}

std::vector<Kind> Planner::cheapest_kinds() {
  if (is_hopeless()) return {};
  const std::uint64_t num_columns = columns_.num_columns();
  kinds_.assign(num_columns, raw_.kind);
  for (std::uint64_t first = 0; first < num_columns; first += kBlockColumns) {
    plan_block(first, std::min(first + kBlockColumns, num_columns));
    if (num_entries_ > kMaxPlanEntries) return {};
  }
  if (!any_) return {};
  return std::move(kinds_);
}

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || input.sample.empty()) return nullptr;

  std::unique_ptr<RowCodec> best;
  std::uint64_t lowest = input.geometry.num_bytes();
  // Elements of 8 bytes may be pairs of floats.
  for (const unsigned view_bytes : {input.element_bytes, input.element_bytes == 8 ? 4U : 0U}) {
    if (view_bytes == 0 || view_bytes > 8 || !std::has_single_bit(view_bytes)) continue;
    if (row_bytes % view_bytes != 0 || input.period_bytes % view_bytes != 0) continue;
    if (row_bytes / view_bytes > kMaxColumns) continue;
    const Columns columns{input.sample, input.period_bytes, view_bytes};
    if (columns.num_rows() < kMinRows) continue;
    const std::vector<Kind> kinds = Planner(input, columns).cheapest_kinds();
    if (kinds.empty()) continue;
    auto codec = make(make_plan(row_bytes, view_bytes, kinds));
    if (codec->minimum_row_bytes() >= row_bytes) continue;
    if (const std::uint64_t bytes = estimated_bytes(*codec, input); bytes < lowest) {
      lowest = bytes;
      best = std::move(codec);
    }
  }
  return best;
}

}  // namespace stillbit::dictionary
