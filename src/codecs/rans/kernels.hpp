#pragma once

#include "codecs/codec.hpp"
#include "codecs/rans/layout.hpp"
#include "cpu/isa.hpp"

namespace stillbit::rans {

/// The loops over rows, for one instruction set. They allocate nothing and check nothing but what data decides.
/// Preconditions and results are those of RowCodec's functions of the same names.
struct Kernels {
  void (*measure)(const RowLayout& layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes);
  std::uint64_t (*encode)(const RowLayout& layout, const std::byte* row, std::byte* dst);
  std::uint64_t (*decode)(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst);
};

/// The kernels for words of 1, 2, 4 or 8 bytes. Precondition: the machine supports `isa`.
const Kernels& kernels(unsigned view_bytes, cpu::Isa isa = cpu::active_isa()) noexcept;

}  // namespace stillbit::rans
