#include "analysis/exponents.hpp"

#include "core/words.hpp"

#include <cmath>

namespace stillbit::analysis {
namespace {

/// The bits of number `i` of `num_bytes` bytes, from those of words of another size.
float bits_of(std::span<const float> view_bits, unsigned view_bytes, std::uint64_t i, unsigned num_bytes) {
  if (view_bits.empty()) return static_cast<float>(8 * num_bytes);
  if (view_bytes >= num_bytes) {
    const unsigned numbers_per_view = view_bytes / num_bytes;
    return view_bits[i / numbers_per_view] / static_cast<float>(numbers_per_view);
  }
  float sum = 0;
  const unsigned views_per_number = num_bytes / view_bytes;
  for (unsigned view = 0; view < views_per_number; ++view) sum += view_bits[i * views_per_number + view];
  return sum;
}

}  // namespace

ExponentCounts::ExponentCounts(DType dtype)
    : shape_(word_shape(dtype)), counts_(shape_.num_exponents()), bits_(shape_.num_exponents()) {}

void ExponentCounts::add(Bytes numbers, std::span<const float> view_bits, unsigned view_bytes) {
  const unsigned num_bytes = shape_.num_bytes;
  for (std::uint64_t i = 0; i < numbers.size() / num_bytes; ++i) {
    const unsigned exponent = shape_.exponent(load_word(numbers.data() + i * num_bytes, num_bytes));
    ++counts_[exponent];
    bits_[exponent] += static_cast<double>(bits_of(view_bits, view_bytes, i, num_bytes));
  }
}

Exponents ExponentCounts::result() const {
  Exponents result;
  result.is_integer = shape_.is_integer;
  result.word_bits = 8 * shape_.num_bytes;
  result.exponent_bits = shape_.exponent_bits;
  result.bias = shape_.bias;
  double total = 0;
  for (const std::uint64_t count : counts_) total += static_cast<double>(count);
  for (unsigned exponent = 0; exponent < counts_.size(); ++exponent) {
    if (counts_[exponent] == 0) continue;
    const auto count = static_cast<double>(counts_[exponent]);
    result.uses.push_back({exponent, counts_[exponent], bits_[exponent] / count});
    result.entropy_bits -= count / total * std::log2(count / total);
    result.rest_bits += count / total * shape_.rest_bits(exponent);
  }
  // −0 where there is one exponent.
  result.entropy_bits = std::abs(result.entropy_bits);
  return result;
}

}  // namespace stillbit::analysis
