#pragma once

#include "analysis/word_shape.hpp"
#include "core/bytes.hpp"

#include <stillbit/analysis.hpp>

#include <span>
#include <vector>

namespace stillbit::analysis {

/// Counts the exponents of numbers, and the bits that numbers with each of them take.
class ExponentCounts {
 public:
  explicit ExponentCounts(DType dtype);

  /// Adds numbers that lie back to back. `view_bits` are the bits that words of `view_bytes` bytes took that cover
  /// them: words may be smaller than the numbers, or larger, and are then divided among them. Empty where they are
  /// stored raw.
  void add(Bytes numbers, std::span<const float> view_bits, unsigned view_bytes);

  [[nodiscard]] Exponents result() const;

 private:
  WordShape shape_;
  std::vector<std::uint64_t> counts_;
  std::vector<double> bits_;
};

}  // namespace stillbit::analysis
