#include "format/payload.hpp"

#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace stillbit::format {
namespace {

constexpr char kMagic[] = {'S', 'T', 'I', 'L', 'L', 'B', 'I', 'T'};

/// Where each field stands (docs/format.md, "Payload").
enum Field : std::size_t {
  kMagicAt = 0,
  kPayloadChecksumAt = 8,
  kVersionAt = 16,
  kDTypeAt = 18,
  kCodecAt = 19,
  kPackingAt = 20,
  kRankAt = 21,
  kRowDimsAt = 22,
  kIndexBitsAt = 23,
  kDataChecksumAt = 24,
  kPlanBytesAt = 32,
  kIndexBytesAt = 40,
  kRowsBytesAt = 48,
  kOverflowBytesAt = 56,
  kRowUnitAt = 64,
  kTileBytesAt = 72,
  kNumRepeatsAt = 80,
  kShapeAt = 88,
};

std::uint64_t header_bytes(std::size_t rank) noexcept {
  return kShapeAt + 8 * rank;
}

Fault bad_field(const char* field, std::uint64_t value) {
  return corrupt(std::string("payload field ") + field + " has the invalid value " + std::to_string(value));
}

Result<void> validate_tiles(const PayloadHeader& header) {
  const RowGeometry& geometry = header.geometry;
  if (header.tile_bytes == geometry.row_bytes) return {};
  const bool fits = header.packing == Packing::kPacked && header.codec != Codec::kRaw && header.tile_bytes > 0 &&
                    header.tile_bytes <= std::min(kMaxTileBytes, geometry.num_bytes()) &&
                    header.tile_bytes % num_bytes(header.dtype) == 0;
  return fits ? Result<void>() : bad_field("tile_bytes", header.tile_bytes);
}

/// Rows that are all raw have one size, and need no index: they are the tensor itself.
Result<void> validate_raw(const PayloadHeader& header) {
  if (header.codec != Codec::kRaw) return {};
  if (header.row_unit != header.geometry.row_bytes) return bad_field("row_unit", header.row_unit);
  if (header.index_bits != 0) return bad_field("index_bits", header.index_bits);
  return {};
}

/// Rows that repeat others are left out where rows are looked up anyway and never rewritten.
Result<void> validate_repeats(const PayloadHeader& header, std::uint64_t payload_bytes) {
  if (header.num_repeats == 0) return {};
  const bool fits = header.packing == Packing::kPacked && header.tile_bytes == header.geometry.row_bytes &&
                    header.tile_bytes > 0 && header.num_repeats < header.geometry.num_rows;
  if (!fits) return bad_field("num_repeats", header.num_repeats);
  // Every row has a bit at least in the map: the map's size is then no number that wraps around.
  if (header.map_bits() > 0 && header.geometry.num_rows / 8 > payload_bytes)
    return bad_field("num_repeats", header.num_repeats);
  return {};
}

Result<void> validate_packed(const PayloadHeader& header) {
  const RowGeometry tiles = header.stored_tiles();
  if (header.row_unit > tiles.row_bytes) return bad_field("row_unit", header.row_unit);
  if (header.index_bits > kMaxIndexBits) return bad_field("index_bits", header.index_bits);
  if (header.overflow_bytes != 0) return bad_field("overflow_bytes", header.overflow_bytes);
  // Compared by division: the product of hostile sizes may not fit.
  const std::uint64_t entry_bytes = index_entry_bytes(header.index_bits);
  const std::uint64_t num_blocks = header.index_bits == 0 ? 0 : ceil_div(tiles.num_rows, kIndexBlockTiles);
  if (header.index_bytes % entry_bytes != 0 || header.index_bytes / entry_bytes != num_blocks) {
    return bad_field("index_bytes", header.index_bytes);
  }
  // num_tiles × row_unit is at most num_tiles × tile_bytes and cannot overflow.
  const std::uint64_t least = tiles.num_rows * header.row_unit;
  const bool fits = header.index_bits == 0 ? header.rows_bytes == least
                                           : header.rows_bytes >= least && header.rows_bytes <= tiles.num_bytes();
  if (!fits) return bad_field("rows_bytes", header.rows_bytes);
  return {};
}

Result<void> validate_slotted(const PayloadHeader& header) {
  const RowGeometry& geometry = header.geometry;
  if (header.index_bits != 0) return bad_field("index_bits", header.index_bits);
  if (header.index_bytes != 0) return bad_field("index_bytes", header.index_bytes);
  const bool raw = header.row_unit == geometry.row_bytes;
  if (!raw && (header.row_unit < kMinStride || header.row_unit > geometry.row_bytes)) {
    return bad_field("row_unit", header.row_unit);
  }
  if (header.rows_bytes != geometry.num_rows * header.row_unit) return bad_field("rows_bytes", header.rows_bytes);
  if (raw && header.overflow_bytes != 0) return bad_field("overflow_bytes", header.overflow_bytes);
  return {};
}

}  // namespace

unsigned PayloadHeader::map_bits() const noexcept {
  return num_repeats == 0 ? 0 : static_cast<unsigned>(std::bit_width(stored_tiles().num_rows - 1));
}

std::uint64_t PayloadHeader::map_bytes() const noexcept {
  return ceil_div(tiles().num_rows * map_bits(), 8);
}

std::uint64_t alignment(Packing packing) noexcept {
  return packing == Packing::kSlotted ? 128 : 16;
}

std::uint64_t index_entry_bytes(unsigned index_bits) noexcept {
  return 8 + kIndexBlockTiles * index_bits / 8;
}

std::uint64_t index_bytes_for(std::uint64_t num_tiles, unsigned index_bits) noexcept {
  return index_bits == 0 ? 0 : ceil_div(num_tiles, kIndexBlockTiles) * index_entry_bytes(index_bits);
}

PayloadLayout layout_of(const PayloadHeader& header) noexcept {
  PayloadLayout layout;
  layout.size = {header_bytes(header.shape.size()),
                 header.plan_bytes,
                 header.map_bytes(),
                 header.index_bytes,
                 header.rows_bytes,
                 header.overflow_bytes};
  const std::uint64_t unit = alignment(header.packing);
  for (std::size_t i = 0; i < kNumSections; ++i) {
    layout.offset[i] = layout.payload_bytes;
    layout.payload_bytes = align_up(layout.payload_bytes + layout.size[i], unit);
  }
  return layout;
}

std::vector<std::byte> serialize(const PayloadHeader& header) {
  std::vector<std::byte> bytes(header_bytes(header.shape.size()));
  std::byte* dst = bytes.data();
  std::memcpy(dst + kMagicAt, kMagic, sizeof(kMagic));
  store(dst + kPayloadChecksumAt, header.payload_checksum);
  store(dst + kVersionAt, kVersion);
  store(dst + kDTypeAt, header.dtype);
  store(dst + kCodecAt, header.codec);
  store(dst + kPackingAt, header.packing);
  store(dst + kRankAt, static_cast<std::uint8_t>(header.shape.size()));
  store(dst + kRowDimsAt, header.row_dims);
  store(dst + kIndexBitsAt, header.index_bits);
  store(dst + kDataChecksumAt, header.data_checksum);
  store(dst + kPlanBytesAt, header.plan_bytes);
  store(dst + kIndexBytesAt, header.index_bytes);
  store(dst + kRowsBytesAt, header.rows_bytes);
  store(dst + kOverflowBytesAt, header.overflow_bytes);
  store(dst + kRowUnitAt, header.row_unit);
  store(dst + kTileBytesAt, header.tile_bytes);
  store(dst + kNumRepeatsAt, header.num_repeats);
  for (std::size_t i = 0; i < header.shape.size(); ++i) store(dst + kShapeAt + 8 * i, header.shape[i]);
  return bytes;
}

Result<Payload> parse_payload(Bytes bytes) {
  if (bytes.size() < kShapeAt) {
    return corrupt("payload of " + std::to_string(bytes.size()) + " bytes is shorter than its header");
  }
  const std::byte* src = bytes.data();
  if (std::memcmp(src + kMagicAt, kMagic, sizeof(kMagic)) != 0) return corrupt("payload does not start with STILLBIT");
  const auto version = load<std::uint16_t>(src + kVersionAt);
  if (version != kVersion) {
    return unsupported("payload has format version " + std::to_string(version) + "; this library reads version " +
                       std::to_string(kVersion));
  }

  const auto dtype = load<std::uint8_t>(src + kDTypeAt);
  if (dtype >= kNumDTypes) return bad_field("dtype", dtype);
  const auto codec = load<std::uint8_t>(src + kCodecAt);
  const auto packing = load<std::uint8_t>(src + kPackingAt);
  if (packing > static_cast<std::uint8_t>(Packing::kSlotted)) return bad_field("packing", packing);
  const auto rank = load<std::uint8_t>(src + kRankAt);
  if (rank > kMaxRank || header_bytes(rank) > bytes.size()) return bad_field("rank", rank);

  PayloadHeader header;
  header.payload_checksum = load<std::uint64_t>(src + kPayloadChecksumAt);
  header.dtype = static_cast<DType>(dtype);
  header.codec = static_cast<Codec>(codec);
  header.packing = static_cast<Packing>(packing);
  header.row_dims = load<std::uint8_t>(src + kRowDimsAt);
  header.index_bits = load<std::uint8_t>(src + kIndexBitsAt);
  header.data_checksum = load<std::uint64_t>(src + kDataChecksumAt);
  header.plan_bytes = load<std::uint64_t>(src + kPlanBytesAt);
  header.index_bytes = load<std::uint64_t>(src + kIndexBytesAt);
  header.rows_bytes = load<std::uint64_t>(src + kRowsBytesAt);
  header.overflow_bytes = load<std::uint64_t>(src + kOverflowBytesAt);
  header.row_unit = load<std::uint64_t>(src + kRowUnitAt);
  header.tile_bytes = load<std::uint64_t>(src + kTileBytesAt);
  header.num_repeats = load<std::uint64_t>(src + kNumRepeatsAt);
  header.shape.resize(rank);
  for (std::size_t i = 0; i < rank; ++i) header.shape[i] = load<std::uint64_t>(src + kShapeAt + 8 * i);

  const auto geometry = row_geometry(header.dtype, header.shape, header.row_dims);
  if (!geometry.ok()) return corrupt("payload: " + geometry.fault().message);
  header.geometry = geometry.value();

  const struct {
    const char* field;
    std::uint64_t size;
  } sizes[] = {{"plan_bytes", header.plan_bytes},
               {"index_bytes", header.index_bytes},
               {"rows_bytes", header.rows_bytes},
               {"overflow_bytes", header.overflow_bytes}};
  for (const auto& [field, size] : sizes) {
    if (size > bytes.size()) return bad_field(field, size);
  }
  STILLBIT_CHECK(validate_tiles(header));
  STILLBIT_CHECK(validate_repeats(header, bytes.size()));
  STILLBIT_CHECK(validate_raw(header));
  STILLBIT_CHECK(header.packing == Packing::kPacked ? validate_packed(header) : validate_slotted(header));

  const PayloadLayout layout = layout_of(header);
  if (layout.payload_bytes != bytes.size()) {
    return corrupt("payload has " + std::to_string(bytes.size()) + " bytes; its header says " +
                   std::to_string(layout.payload_bytes));
  }
  const auto section = [&](Section which) {
    const auto i = static_cast<std::size_t>(which);
    return bytes.subspan(layout.offset[i], layout.size[i]);
  };
  return Payload{std::move(header),          bytes,
                 section(Section::kPlan),    section(Section::kMap),
                 section(Section::kIndex),   section(Section::kRows),
                 section(Section::kOverflow)};
}

}  // namespace stillbit::format
