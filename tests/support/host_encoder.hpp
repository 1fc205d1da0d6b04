#pragma once

#include "tests/support/host_table.hpp"
#include "warp/compress.hpp"

#include <stillbit/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace stillbit::testing {

/// The sections of a slotted tensor of two dimensions that warps of a GPU, played by this thread, write. Sections end
/// where a warp may write no further, for the sanitizer to see.
class HostEncoder {
 public:
  /// Slots without rows yet, for rows like those of another tensor and with its codec, plan and, unless another is
  /// given, stride. The tensor must stay.
  HostEncoder(const CompressedTensor& like, std::uint64_t num_rows, std::uint64_t overflow_capacity,
              std::uint64_t stride = 0);

  /// Puts row `first_row` and those behind it.
  warp::Status put(std::span<const std::byte> rows, std::uint64_t first_row = 0, const WarpSetup& setup = {});

  /// Rewrites rows index[0], index[1] …: of a row that is named twice the last is kept.
  warp::Status update(std::span<const std::int64_t> index, std::span<const std::byte> rows,
                      const WarpSetup& setup = {});

  /// Makes the sections longer; what they have stays.
  void grow(std::uint64_t num_rows, std::uint64_t overflow_capacity);

  /// A copy that the CPU reads. Every slot must have a row.
  [[nodiscard]] CompressedTensor tensor() const;

  /// Whether nothing was written behind the slots, nor behind what is used of the overflow area.
  [[nodiscard]] bool is_intact_behind() const;
  /// Whether nothing was written to a slot.
  [[nodiscard]] bool is_untouched(std::uint64_t row) const;

  [[nodiscard]] std::uint64_t overflow_bytes() const;
  [[nodiscard]] warp::OverflowUse& use() { return *use_; }
  [[nodiscard]] const warp::SlotTable& table() const { return table_; }

 private:
  warp::Status run(warp::CompressRequest request, const WarpSetup& setup);

  const CompressedTensor& like_;
  unsigned view_bytes_ = 1;
  SectionMemory plan_;
  SectionMemory slots_;
  SectionMemory overflow_;
  std::unique_ptr<warp::OverflowUse> use_;
  warp::SlotTable table_;
};

}  // namespace stillbit::testing
