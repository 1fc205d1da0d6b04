#pragma once

#include "core/bytes.hpp"
#include "format/payload.hpp"

#include <cstdint>
#include <span>

namespace stillbit::packing {

/// One slot, of a stride below row_bytes (docs/format.md, "Packing 1: slotted").
struct SlotTrailer {
  std::uint64_t tail_offset;
  std::uint32_t tail_bytes;
};

/// Bytes of a row that stay in the slot when the rest goes to the overflow area.
[[nodiscard]] constexpr std::uint64_t slot_head_bytes(std::uint64_t stride) noexcept {
  return stride - format::kSlotTrailerBytes;
}

/// Bytes of the overflow area that a stored row of `stored_bytes` takes: 0 when it fits the slot.
[[nodiscard]] constexpr std::uint64_t tail_bytes_for(std::uint64_t stored_bytes, std::uint64_t stride) noexcept {
  return stored_bytes <= stride - format::kSlotTagBytes ? 0 : stored_bytes - slot_head_bytes(stride);
}

[[nodiscard]] inline format::SlotTag slot_tag(const std::byte* slot, std::uint64_t stride) noexcept {
  return static_cast<format::SlotTag>(slot[stride - format::kSlotTagBytes]);
}

[[nodiscard]] inline SlotTrailer slot_trailer(const std::byte* slot, std::uint64_t stride) noexcept {
  const std::byte* src = slot + slot_head_bytes(stride);
  return {load<std::uint64_t>(src), load<std::uint32_t>(src + 8)};
}

/// Fills a slot with a stored row; a tail, when there is one, belongs at `tail_offset` of the overflow area.
inline void fill_slot(std::byte* slot, std::uint64_t stride, Bytes stored, bool is_raw,
                      std::uint64_t tail_offset) noexcept {
  const std::uint64_t tail_bytes = tail_bytes_for(stored.size(), stride);
  if (tail_bytes == 0) {
    std::memcpy(slot, stored.data(), stored.size());
    std::memset(slot + stored.size(), 0, stride - stored.size());
    return;
  }
  const std::uint64_t head_bytes = slot_head_bytes(stride);
  std::memcpy(slot, stored.data(), head_bytes);
  store(slot + head_bytes, tail_offset);
  store(slot + head_bytes + 8, static_cast<std::uint32_t>(tail_bytes));
  store(slot + stride - format::kSlotTagBytes, is_raw ? format::SlotTag::kRawTail : format::SlotTag::kEncodedTail);
}

/// The stride for rows of these stored sizes, which are put in order: the coarsest alignment (a 128-byte line, a
/// 32-byte sector, 8 bytes, 1 byte) that costs at most 2.5 % more than the best of all. The cost of a stride is the
/// space it takes plus a sector for each row that has a tail, since that is read apart. `row_bytes` when rows are best
/// stored raw.
[[nodiscard]] std::uint64_t choose_stride(std::span<std::uint32_t> stored_sizes, std::uint64_t row_bytes);

}  // namespace stillbit::packing
