#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <vector>

namespace stillbit {

/// Rows of a tensor whose length is not known yet: runs of neighbours, evenly spread over what has come so far.
///
/// Every k-th run is kept. When they become too many, every second of them is dropped, and k doubles: between half of
/// the most that may be kept and all of it. Which rows are kept follows from their number alone.
class RunningSample {
 public:
  RunningSample(std::uint64_t row_bytes, std::uint64_t max_bytes);

  /// The next rows, back to back.
  void add(Bytes rows);

  [[nodiscard]] const std::vector<std::byte>& rows() const noexcept { return rows_; }

 private:
  void thin_out();

  std::uint64_t row_bytes_;
  std::uint64_t run_bytes_;
  std::uint64_t max_bytes_;
  std::uint64_t offset_ = 0;      ///< of the next row in the tensor
  std::uint64_t kept_every_ = 1;  ///< run of this many
  std::vector<std::byte> rows_;
};

}  // namespace stillbit
