#include "bench/cases.hpp"

#include "bench/reference.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>
#include <random>

namespace stillbit::bench {
namespace {

using testing::Values;

constexpr std::uint64_t kCacheBytes = std::uint64_t{64} << 10;

/// Values are made for so many bytes, and then come again: making more takes long. No compressor that is measured looks
/// back as far.
constexpr std::uint64_t kDistinctBytes = std::uint64_t{16} << 20;

/// Calls to gather until the same rows come again.
constexpr std::uint64_t kGatherCalls = 8;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string axis_name(Values values) {
  switch (values) {
    case Values::kNormal:
      return "normal";
    case Values::kBagOfWords:
      return "bag_of_words";
    case Values::kSmallInts:
      return "small_ints";
    case Values::kRandomBits:
      return "random_bits";
    default:
      return lower(testing::name(values));
  }
}

std::vector<std::int64_t> random_rows(std::uint64_t count, std::uint64_t num_rows) {
  std::mt19937_64 random(num_rows);
  std::vector<std::int64_t> rows(count);
  for (std::int64_t& row : rows) row = static_cast<std::int64_t>(random() % num_rows);
  return rows;
}

/// Fills `raw` with a tensor's rows again and again, each time rotated by one element more: no row is twice the same,
/// or it would be stored once.
void repeat_rotated(const testing::OwnedTensor& tensor, std::uint64_t row_bytes, std::span<std::byte> raw) {
  const unsigned element_bytes = num_bytes(tensor.dtype);
  for (std::uint64_t at = 0; at < raw.size(); at += row_bytes) {
    const std::byte* const row = tensor.data.data() + at % tensor.data.size();
    const std::uint64_t by = at / tensor.data.size() * element_bytes % row_bytes;
    std::rotate_copy(row, row + by, row + row_bytes, raw.data() + at);
  }
}

}  // namespace

std::uint64_t Case::row_bytes() const {
  return columns * stillbit::num_bytes(dtype);
}

std::string Case::name() const {
  return "dtype:" + lower(stillbit::name(dtype)) + "/columns:" + std::to_string(columns) +
         "/values:" + axis_name(values) + "/size:" + (is_in_cache ? "cache" : "dram");
}

std::vector<unsigned> Case::threads() const {
  return is_in_cache ? std::vector<unsigned>{1} : std::vector<unsigned>{1, 2};
}

std::vector<Case> all_cases(std::uint64_t dram_bytes) {
  std::vector<Case> cases;
  for (const bool is_in_cache : {false, true}) {
    const std::uint64_t bytes = is_in_cache ? kCacheBytes : dram_bytes;
    const auto add = [&](DType dtype, std::uint64_t columns, Values values, bool has_bulk, bool has_peers) {
      cases.push_back({dtype, columns, values, is_in_cache, has_bulk, has_peers, bytes});
    };
    add(DType::kBF16, 1024, Values::kNormal, true, true);
    add(DType::kF16, 1024, Values::kNormal, true, true);
    add(DType::kF32, 1024, Values::kNormal, true, true);
    add(DType::kF8E5M2, 1024, Values::kNormal, true, true);
    add(DType::kF64, 256, Values::kNormal, true, true);
    add(DType::kF32, 1024, Values::kBagOfWords, true, true);
    add(DType::kI64, 128, Values::kSmallInts, true, true);
    add(DType::kBF16, 1024, Values::kRandomBits, true, true);
    // Other widths of a row: to other compressors the data is the same.
    for (const std::uint64_t columns : {64U, 8192U}) add(DType::kBF16, columns, Values::kNormal, true, false);
    if (is_in_cache) continue;
    // Rows of 256 to 2,048 bytes, but for those above.
    for (const std::uint64_t columns : {128U, 256U, 512U}) add(DType::kBF16, columns, Values::kNormal, false, false);
    for (const std::uint64_t columns : {64U, 128U, 256U, 512U})
      add(DType::kF32, columns, Values::kNormal, false, false);
  }
  return cases;
}

Data::Data(const Case& made_for) : which(made_for), raw(which.num_bytes), out(which.num_bytes) {
  const std::uint64_t distinct = std::min(which.num_bytes, kDistinctBytes);
  const auto tensor = testing::make_tensor(which.dtype, {distinct / which.row_bytes(), which.columns}, which.values, 1);
  repeat_rotated(tensor, which.row_bytes(), raw);
  index_ = random_rows(which.num_rows(), which.num_rows());
  per_call_ = which.is_in_cache ? index_.size() : index_.size() / kGatherCalls;
  ahead = best_ahead(*this);
}

TensorView Data::view() const {
  return {raw.data(), which.dtype, {which.num_rows(), which.columns}};
}

std::span<const std::int64_t> Data::next_index() {
  if (next_ + per_call_ > index_.size()) next_ = 0;
  const auto rows = std::span(index_).subspan(next_, per_call_);
  next_ += per_call_;
  return rows;
}

void invert(std::span<std::byte> bytes) {
  for (std::byte& byte : bytes) byte = ~byte;
}

void require(bool is_exact, const std::string& what) {
  if (is_exact) return;
  std::cerr << what << ": not exact\n";
  std::exit(1);
}

}  // namespace stillbit::bench
