#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit {

/// Rows of a tensor whose length is not known yet: runs of neighbours, evenly spread over what has come so far.
///
/// Of every 2^level runs one is kept. When they become too many, one of every two neighbours is dropped: between about
/// half of the most that may be kept and all of it stays. Which one is a matter of a hash of their numbers: with every
/// k-th run, a table whose second half repeats its first would show each row that is kept twice.
class RunningSample {
 public:
  RunningSample(std::uint64_t row_bytes, std::uint64_t max_bytes);

  /// The next rows, back to back.
  void add(Bytes rows);

  [[nodiscard]] const std::vector<std::byte>& rows() const noexcept { return rows_; }

 private:
  void thin_out();

  std::uint64_t run_bytes_;
  std::uint64_t max_bytes_;
  std::uint64_t offset_ = 0;  ///< of the next row in the tensor
  unsigned level_ = 0;
  std::vector<std::uint64_t> runs_;  ///< the numbers of those that are kept
  std::vector<std::byte> rows_;
};

}  // namespace stillbit
