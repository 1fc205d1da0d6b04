#include "codecs/ibp/ibp.hpp"
#include "codecs/ibp/kernels.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace stillbit::ibp {
namespace {

/// Shares of the rows, in twentieths, from which on a bit counts as invariant: 0.70, 0.75 … 0.95, and all rows.
constexpr unsigned kThresholds[kNumCandidates] = {14, 15, 16, 17, 18, 19, 20};
constexpr unsigned kThresholdUnit = 20;

/// In how many rows a bit may deviate and still count as invariant: (1 − T) × num_rows, rounded down, without overflow.
std::uint64_t most_deviating(std::uint64_t num_rows, unsigned threshold) {
  const unsigned rest = kThresholdUnit - threshold;
  return num_rows / kThresholdUnit * rest + num_rows % kThresholdUnit * rest / kThresholdUnit;
}

/// What a deviating element costs besides its patch bits. It takes as long to decode as several that agree: masks that
/// gain next to nothing by deviating often are not worth it.
constexpr std::uint64_t kDeviationPrice = 2;

/// The masks that each threshold gives to a run of words: per column, or one run of the length of an element for all.
struct Candidates {
  std::vector<std::uint64_t> value;
  std::vector<std::uint64_t> constant;
  std::vector<std::uint64_t> mask[kNumCandidates];
};

Candidates candidates_from(const BitStatistics& statistics, unsigned view_bytes) {
  const std::uint64_t num_words = statistics.row_bytes() / view_bytes;
  const std::uint64_t num_rows = statistics.num_rows();
  Candidates result{std::vector<std::uint64_t>(num_words), std::vector<std::uint64_t>(num_words), {}};
  for (auto& mask : result.mask) mask.resize(num_words);
  std::uint64_t most[kNumCandidates];
  for (unsigned t = 0; t < kNumCandidates; ++t) most[t] = most_deviating(num_rows, kThresholds[t]);
  const std::vector<std::uint64_t> counts = statistics.ones();
  const std::uint64_t* ones = counts.data();
  for (std::uint64_t word = 0; word < num_words; ++word) {
    std::uint64_t value = 0;
    std::uint64_t constant = 0;
    std::uint64_t mask[kNumCandidates] = {};
    // Without branches: which bits agree is not to be foreseen.
    for (unsigned bit = 0; bit < 8 * view_bytes; ++bit, ++ones) {
      const std::uint64_t deviating = std::min(*ones, num_rows - *ones);
      value |= std::uint64_t{2 * *ones > num_rows} << bit;
      constant |= std::uint64_t{deviating == 0} << bit;
      for (unsigned t = 0; t < kNumCandidates; ++t) mask[t] |= std::uint64_t{deviating <= most[t]} << bit;
    }
    result.value[word] = value;
    result.constant[word] = constant;
    for (unsigned t = 0; t < kNumCandidates; ++t) result.mask[t][word] = mask[t];
  }
  return result;
}

/// A row of `row_bytes` bytes that repeats the words.
std::vector<std::byte> repeated(const std::vector<std::uint64_t>& words, unsigned view_bytes, std::uint64_t row_bytes) {
  std::vector<std::byte> row(row_bytes);
  for (std::uint64_t i = 0; i < row_bytes / view_bytes; ++i) {
    std::memcpy(row.data() + i * view_bytes, &words[i % words.size()], view_bytes);
  }
  return row;
}

/// Chooses for each word the threshold that stores the fewest bits of the sample. Words are priced apart: which bits of
/// a column are masked changes no other column's size.
std::vector<Entry> cheapest_entries(const Candidates& candidates, unsigned view_bytes, Bytes sample,
                                    std::uint64_t row_bytes) {
  const std::uint64_t num_words = candidates.value.size();
  const std::uint64_t num_columns = row_bytes / view_bytes;
  const std::uint64_t num_rows = sample.size() / row_bytes;
  const std::vector<std::byte> value = repeated(candidates.value, view_bytes, row_bytes);
  std::vector<std::byte> patches;
  for (const auto& mask : candidates.mask) {
    std::vector<std::uint64_t> patch(num_words);
    for (std::uint64_t i = 0; i < num_words; ++i) patch[i] = mask[i] & ~candidates.constant[i];
    const auto row = repeated(patch, view_bytes, row_bytes);
    patches.insert(patches.end(), row.begin(), row.end());
  }
  std::vector<std::uint32_t> deviations(kNumCandidates * num_columns);
  kernels(view_bytes)
      .count_deviations(sample.data(), num_rows, row_bytes, value.data(), patches.data(), deviations.data());

  std::vector<Entry> entries(num_words);
  for (std::uint64_t word = 0; word < num_words; ++word) {
    std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max();
    for (unsigned t = 0; t < kNumCandidates; ++t) {
      const std::uint64_t mask = candidates.mask[t][word];
      const Entry entry{candidates.value[word] & mask, mask, candidates.constant[word]};
      const auto num_bits = [](std::uint64_t bits) { return static_cast<std::uint64_t>(std::popcount(bits)); };
      const std::uint64_t every = 8 * view_bytes - num_bits(mask) + (entry.patch() != 0);
      std::uint64_t price = 0;
      for (std::uint64_t column = word; column < num_columns; column += num_words) {
        price += every * num_rows + (num_bits(entry.patch()) + kDeviationPrice) * deviations[t * num_columns + column];
      }
      if (price >= lowest) continue;
      lowest = price;
      entries[word] = entry;
    }
  }
  return entries;
}

}  // namespace

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes || input.sample.empty()) return nullptr;

  std::unique_ptr<RowCodec> best;
  std::uint64_t lowest = input.geometry.num_bytes();
  const auto consider = [&](unsigned view_bytes, const BitStatistics& statistics, std::uint64_t priced_bytes) {
    // Masks that repeat in a row are priced on shorter ones: the sample is the same, and repeating them would be in
    // vain.
    const Bytes sample = input.sample.first(input.sample.size() / priced_bytes * priced_bytes);
    const auto entries = cheapest_entries(candidates_from(statistics, view_bytes), view_bytes, sample, priced_bytes);
    std::vector<Entry> columns(row_bytes / view_bytes);
    for (std::uint64_t i = 0; i < columns.size(); ++i) columns[i] = entries[i % entries.size()];
    auto codec = make(make_plan(row_bytes, view_bytes, columns));
    if (codec->minimum_row_bytes() >= row_bytes) return;
    if (const std::uint64_t bytes = estimated_bytes(*codec, input); bytes < lowest) {
      lowest = bytes;
      best = std::move(codec);
    }
  };

  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    if (row_bytes % view_bytes != 0) continue;
    const std::uint64_t counted_bytes = input.statistics.row_bytes();
    if (counted_bytes % view_bytes == 0 && row_bytes % counted_bytes == 0)
      consider(view_bytes, input.statistics, counted_bytes);
    const std::uint64_t period = std::max(view_bytes, input.element_bytes);
    constexpr std::uint64_t kPricedBytes = 32;
    if (period < counted_bytes && counted_bytes % period == 0 && row_bytes % period == 0 &&
        input.sample.size() >= kPricedBytes) {
      consider(view_bytes, input.statistics.folded(period), kPricedBytes);
    }
  }
  return best;
}

}  // namespace stillbit::ibp
