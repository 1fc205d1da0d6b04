#include "codecs/rans/frequencies.hpp"

#include "core/bits.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace stillbit::rans {
namespace {

unsigned length_of(unsigned frequency) {
  return static_cast<unsigned>(std::bit_width(frequency));
}

/// How a length is told: by how it differs from the one before. The ones of a unary number: 0, +1, −1, +2, −2 …
unsigned folded(unsigned length, unsigned before) {
  return length > before ? 2 * (length - before) - 1 : 2 * (before - length);
}

/// Bits a stream of bytes is read by, one number after the other.
class BitReader {
 public:
  explicit BitReader(Bytes bytes) : bytes_(bytes) {}

  std::optional<unsigned> take(unsigned num_bits) {
    if (bytes_.size() * 8 - at_ < num_bits) return std::nullopt;
    const auto bits = static_cast<unsigned>(load_bits(bytes_.data(), at_, num_bits));
    at_ += num_bits;
    return bits;
  }

  /// Ones before a zero, `most` at most.
  std::optional<unsigned> take_unary(unsigned most) {
    for (unsigned ones = 0; ones <= most; ++ones) {
      const auto bit = take(1);
      if (!bit) return std::nullopt;
      if (*bit == 0) return ones;
    }
    return most + 1;
  }

  [[nodiscard]] bool is_at_end() const { return ceil_div(at_, 8) == bytes_.size(); }

 private:
  Bytes bytes_;
  std::uint64_t at_ = 0;
};

}  // namespace

Frequencies normalized(std::span<const double> counts, unsigned scale_bits) {
  const double scale = std::exp2(scale_bits);
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  Frequencies frequencies(counts.size());
  int left = 1 << scale_bits;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] <= 0) continue;
    frequencies[i] = static_cast<std::uint16_t>(std::max(1.0, std::floor(counts[i] / total * scale + 0.5)));
    left -= frequencies[i];
  }
  // What is left, or too much, goes where it shortens the code most, or lengthens it least.
  for (; left != 0; left += left > 0 ? -1 : 1) {
    std::size_t best = counts.size();
    double best_gain = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (frequencies[i] == 0 || (left < 0 && frequencies[i] == 1)) continue;
      const double changed = frequencies[i] + (left > 0 ? 1.0 : -1.0);
      const double gain = counts[i] * std::log2(changed / frequencies[i]);
      if (best < counts.size() && gain <= best_gain) continue;
      best = i;
      best_gain = gain;
    }
    frequencies[best] = static_cast<std::uint16_t>(frequencies[best] + (left > 0 ? 1 : -1));
  }
  return frequencies;
}

double coded_bits(std::span<const double> counts, const Frequencies& frequencies, unsigned scale_bits) {
  double bits = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) bits += counts[i] * (scale_bits - std::log2(frequencies[i]));
  }
  return bits;
}

std::uint64_t stored_bits(const Frequencies& frequencies) noexcept {
  std::uint64_t bits = 0;
  unsigned before = 0;
  for (const std::uint16_t frequency : frequencies) {
    const unsigned length = length_of(frequency);
    bits += folded(length, before) + 1 + (length > 1 ? length - 1 : 0);
    before = length;
  }
  return bits;
}

std::vector<std::byte> write_tables(std::span<const Frequencies> tables) {
  std::uint64_t num_bits = 0;
  for (const Frequencies& table : tables) num_bits += stored_bits(table);
  std::vector<std::byte> bytes(ceil_div(num_bits, 8));
  std::uint64_t at = 0;
  for (const Frequencies& table : tables) {
    unsigned before = 0;
    for (const std::uint16_t frequency : table) {
      const unsigned length = length_of(frequency);
      const unsigned ones = folded(length, before);
      store_bits(bytes.data(), at, ones, (std::uint64_t{1} << ones) - 1);
      at += ones + 1;
      if (length > 1) {
        store_bits(bytes.data(), at, length - 1, frequency & ((1U << (length - 1)) - 1));
        at += length - 1;
      }
      before = length;
    }
  }
  return bytes;
}

std::optional<std::vector<Frequencies>> read_tables(Bytes bytes, unsigned num_tables, unsigned num_symbols,
                                                    unsigned scale_bits, TableFault& fault) {
  const auto broken = [&](TableFault is) {
    fault = is;
    return std::nullopt;
  };
  BitReader reader(bytes);
  std::vector<Frequencies> tables(num_tables, Frequencies(num_symbols));
  for (Frequencies& table : tables) {
    std::uint64_t sum = 0;
    unsigned before = 0;
    for (std::uint16_t& frequency : table) {
      const auto ones = reader.take_unary(2 * (scale_bits + 1));
      if (!ones) return broken(TableFault::kTooShort);
      const unsigned length = *ones % 2 == 1 ? before + (*ones + 1) / 2 : before - *ones / 2;  // below 0: too large
      if (length > scale_bits + 1) return broken(TableFault::kFrequency);
      if (length > 0) {
        const auto low = reader.take(length - 1);
        if (!low) return broken(TableFault::kTooShort);
        frequency = static_cast<std::uint16_t>(1U << (length - 1) | *low);
      }
      sum += frequency;
      before = length;
    }
    if (sum != std::uint64_t{1} << scale_bits) return broken(TableFault::kSum);
  }
  if (!reader.is_at_end()) return broken(TableFault::kTooLong);
  return tables;
}

}  // namespace stillbit::rans
