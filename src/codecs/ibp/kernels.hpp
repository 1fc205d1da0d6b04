#pragma once

#include "codecs/codec.hpp"
#include "codecs/ibp/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::ibp {

/// The loops over rows, for one instruction set. They allocate nothing and check nothing but what data decides.
/// Preconditions and results are those of RowCodec's functions of the same names.
struct Kernels {
  void (*measure)(const RowMasks& masks, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes);
  std::uint64_t (*encode)(const RowMasks& masks, const std::byte* row, std::byte* dst);
  std::uint64_t (*decode)(const RowMasks& masks, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst);

  /// Adds, for each candidate mask t and each column, in how many rows the column's word and `value` differ under the
  /// mask. `masks` holds kNumCandidates rows of masks, one after the other; `counts` likewise, one number a column.
  void (*count_deviations)(const std::byte* rows, std::uint64_t num_rows, std::uint64_t row_bytes,
                           const std::byte* value, const std::byte* masks, std::uint32_t* counts);

  bool wants_moves;  ///< masks have to come with moves
};

/// Masks that are priced together when a plan is made.
inline constexpr unsigned kNumCandidates = 7;

/// The kernels for words of 1, 2, 4 or 8 bytes. Precondition: the machine supports `isa`.
const Kernels& kernels(unsigned view_bytes, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::ibp
