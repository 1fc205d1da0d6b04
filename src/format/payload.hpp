#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"
#include "core/shape.hpp"

#include <stillbit/dtype.hpp>
#include <stillbit/options.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace stillbit::format {

inline constexpr std::uint16_t kVersion = 1;

/// The bytes that `payload_checksum` does not cover: itself and the magic.
inline constexpr std::uint64_t kChecksummedFrom = 16;

/// Tiles of one index block, of packed payloads.
inline constexpr std::uint64_t kIndexBlockTiles = 64;

inline constexpr unsigned kMaxIndexBits = 48;

/// Tiles that are no rows are short: a reader of one row expands every tile that it touches.
inline constexpr std::uint64_t kMaxTileBytes = std::uint64_t{1} << 20;

/// Fields at the end of a slot whose row is not wholly inside.
inline constexpr std::uint64_t kSlotTagBytes = 1;
inline constexpr std::uint64_t kSlotTrailerBytes = 8 + 4 + kSlotTagBytes;
inline constexpr std::uint64_t kMinStride = 16;
static_assert(kMinStride > kSlotTrailerBytes);

enum class SlotTag : std::uint8_t { kInline = 0, kEncodedTail = 1, kRawTail = 2 };

/// The parts of a payload, in order.
enum class Section : std::uint8_t { kHeader, kPlan, kMap, kIndex, kRows, kOverflow };
inline constexpr unsigned kNumSections = 6;

/// A payload's header, field by field as in docs/format.md. What `parse_payload` returns keeps every rule there.
struct PayloadHeader {
  std::uint64_t payload_checksum = 0;
  DType dtype = DType::kU8;
  Codec codec = Codec::kRaw;
  Packing packing = Packing::kPacked;
  std::uint8_t row_dims = 0;
  std::uint8_t index_bits = 0;
  std::uint64_t data_checksum = 0;
  std::uint64_t plan_bytes = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t rows_bytes = 0;
  std::uint64_t overflow_bytes = 0;
  std::uint64_t row_unit = 0;
  std::uint64_t tile_bytes = 0;
  std::uint64_t num_repeats = 0;
  std::vector<std::uint64_t> shape;

  RowGeometry geometry;  ///< the tensor's rows: follows from dtype, shape and row_dims

  /// What is encoded and stored as one: a row, or tile_bytes bytes of the tensor. The last tile may have more room than
  /// there are bytes.
  [[nodiscard]] RowGeometry tiles() const noexcept {
    if (tile_bytes == geometry.row_bytes) return geometry;
    return {geometry.num_bytes() / tile_bytes + (geometry.num_bytes() % tile_bytes != 0), tile_bytes};
  }

  /// The tiles that are stored: all of them, or those that repeat no other.
  [[nodiscard]] RowGeometry stored_tiles() const noexcept { return {tiles().num_rows - num_repeats, tile_bytes}; }

  /// Width of an entry of the row map; 0 where there is none, and where all rows are equal.
  [[nodiscard]] unsigned map_bits() const noexcept;
  [[nodiscard]] std::uint64_t map_bytes() const noexcept;
};

/// Where the sections of a payload lie in it.
struct PayloadLayout {
  std::array<std::uint64_t, kNumSections> offset{};
  std::array<std::uint64_t, kNumSections> size{};
  std::uint64_t payload_bytes = 0;
};

/// Alignment of the sections, of the payload's size and of its place in a file.
[[nodiscard]] std::uint64_t alignment(Packing packing) noexcept;

/// Precondition: the sizes are those of a valid header, or below 2^62 in sum.
[[nodiscard]] PayloadLayout layout_of(const PayloadHeader& header) noexcept;

/// Bytes of the index that one block of tiles takes.
[[nodiscard]] std::uint64_t index_entry_bytes(unsigned index_bits) noexcept;

/// Bytes of the index that `num_tiles` tiles with `index_bits` take.
[[nodiscard]] std::uint64_t index_bytes_for(std::uint64_t num_tiles, unsigned index_bits) noexcept;

/// The header section's bytes.
[[nodiscard]] std::vector<std::byte> serialize(const PayloadHeader& header);

/// A validated payload: views into the bytes that were parsed.
struct Payload {
  PayloadHeader header;
  Bytes bytes;
  Bytes plan;
  Bytes map;
  Bytes index;
  Bytes rows;
  Bytes overflow;
};

/// Validates the header and the sizes against the bytes. Looks at neither checksums nor the sections' contents.
Result<Payload> parse_payload(Bytes bytes);

}  // namespace stillbit::format
