#pragma once

#include "api/encoder.hpp"
#include "files/tensor_file.hpp"

#include <stillbit/analysis.hpp>

namespace stillbit {

/// How much of a tensor is looked at.
struct AnalysisBudget {
  std::uint64_t sample_bytes = 0;  ///< whole tiles, one at least
  std::uint64_t max_parts = 1;     ///< of Invariance
};

/// What compressing a tensor would make of it, as the planner expects.
Result<TensorAnalysis> analyze(const Source& source, const CompressOptions& options, const AnalysisBudget& budget);

/// A stored tensor as it is.
Result<TensorAnalysis> analyze(const CompressedTensor& tensor, const AnalysisBudget& budget);

}  // namespace stillbit
