#pragma once

#include "codecs/codec.hpp"
#include "codecs/dictionary/layout.hpp"

namespace stillbit::dictionary {

/// The loops over rows, for one size of words. They allocate nothing and check nothing but what data decides.
/// Preconditions and results are those of RowCodec's functions of the same names. `slots` is what make_slots made.
struct Kernels {
  void (*measure)(const RowTables& tables, const std::byte* slots, const std::byte* rows, std::uint64_t num_rows,
                  std::uint32_t* sizes);
  std::uint64_t (*encode)(const RowTables& tables, const std::byte* slots, const std::byte* row, std::byte* dst);
  std::uint64_t (*decode)(const RowTables& tables, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst);
};

/// The kernels for words of 1, 2, 4 or 8 bytes. Plain code for every processor: an element is one load of its field, a
/// shift and one load from a table, at a place that is known beforehand, and that is nearly all there is to do.
const Kernels& kernels(unsigned view_bytes) noexcept;

}  // namespace stillbit::dictionary
