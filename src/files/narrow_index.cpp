#include "files/narrow_index.hpp"

#include "core/bits.hpp"
#include "core/checked.hpp"
#include "cpu/interrupt.hpp"

#include <algorithm>
#include <vector>

namespace stillbit {
namespace {

using format::kIndexBlockTiles;
using format::Section;

constexpr std::uint64_t kMovedBytes = std::uint64_t{1} << 20;

/// The entry of a block: its base, and a delta for each row.
void narrow_entry(const std::byte* src, unsigned src_bits, std::byte* dst, unsigned dst_bits) {
  store(dst, load<std::uint64_t>(src));
  for (std::uint64_t i = 0; i < kIndexBlockTiles; ++i)
    store_bits(dst + 8, i * dst_bits, dst_bits, load_bits(src + 8, i * src_bits, src_bits));
}

}  // namespace

Result<void> narrow_index(io::AtomicFile& file, std::uint64_t payload_offset, const format::PayloadHeader& wide,
                          const format::PayloadHeader& narrow) {
  const auto place = [&](const format::PayloadHeader& header, Section section) {
    return payload_offset + layout_of(header).offset[static_cast<std::size_t>(section)];
  };
  // Everything moves towards the front: what is read next was not yet written over.
  if (narrow.index_bits > 0) {
    const std::uint64_t num_blocks = ceil_div(wide.stored_tiles().num_rows, kIndexBlockTiles);
    const std::uint64_t src_bytes = format::index_entry_bytes(wide.index_bits);
    const std::uint64_t dst_bytes = format::index_entry_bytes(narrow.index_bits);
    const std::uint64_t blocks_at_once = kMovedBytes / src_bytes + 1;
    for (std::uint64_t first = 0; first < num_blocks; first += blocks_at_once) {
      cpu::check_interrupt();
      const std::uint64_t count = std::min(blocks_at_once, num_blocks - first);
      std::vector<std::byte> src(count * src_bytes);
      std::vector<std::byte> dst(count * dst_bytes);
      STILLBIT_CHECK(file.read(place(wide, Section::kIndex) + first * src_bytes, src));
      for (std::uint64_t i = 0; i < count; ++i)
        narrow_entry(src.data() + i * src_bytes, wide.index_bits, dst.data() + i * dst_bytes, narrow.index_bits);
      STILLBIT_CHECK(file.write(place(narrow, Section::kIndex) + first * dst_bytes, dst));
    }
  }
  for (std::uint64_t offset = 0; offset < wide.rows_bytes; offset += kMovedBytes) {
    cpu::check_interrupt();
    std::vector<std::byte> piece(std::min(kMovedBytes, wide.rows_bytes - offset));
    STILLBIT_CHECK(file.read(place(wide, Section::kRows) + offset, piece));
    STILLBIT_CHECK(file.write(place(narrow, Section::kRows) + offset, piece));
  }
  return {};
}

}  // namespace stillbit
