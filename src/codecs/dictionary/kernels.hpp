#pragma once

#include "codecs/codec.hpp"
#include "codecs/dictionary/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::dictionary {

/// Expands rows, as RowCodec::decode does.
using Decode = std::uint64_t (*)(const RowTables& tables, const StoredRow* rows, std::uint64_t num_rows,
                                 std::byte* dst);

/// The loops over rows, for one size of words. They allocate nothing and check nothing but what data decides.
/// Preconditions and results are those of RowCodec's functions of the same names. `slots` is what make_slots made.
struct Kernels {
  void (*measure)(const RowTables& tables, const std::byte* slots, const std::byte* rows, std::uint64_t num_rows,
                  std::uint32_t* sizes);
  std::uint64_t (*encode)(const RowTables& tables, const std::byte* slots, const std::byte* row, std::byte* dst);
  Decode decode;
};

/// The kernels for words of 1, 2, 4 or 8 bytes. Rows are expanded in vectors where words have 4 bytes or less; all else
/// is plain code for every processor.
Kernels kernels(unsigned view_bytes, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::dictionary
