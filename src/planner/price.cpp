#include "planner/price.hpp"

#include "core/checked.hpp"
#include "packings/packed.hpp"
#include "packings/slot.hpp"

#include <algorithm>
#include <span>
#include <vector>

namespace stillbit::planner {
namespace {

constexpr double kSectorBytes = 32;

/// `sum` over `count` things, for `wanted` of them: exact when these are all.
std::uint64_t scaled(std::uint64_t sum, std::uint64_t count, std::uint64_t wanted) {
  if (count == wanted || count == 0) return sum;
  return static_cast<std::uint64_t>(static_cast<double>(sum) / static_cast<double>(count) *
                                    static_cast<double>(wanted));
}

/// Bytes in sectors that `num_bytes` bytes touch: those that start anywhere touch one more for all but one of the
/// places where they may start.
double touched(double num_bytes, bool is_aligned) {
  return is_aligned ? num_bytes : num_bytes + kSectorBytes - 1;
}

void price_packed(const RowCodec& codec, std::span<const std::uint32_t> sizes, Priced& priced) {
  packing::PackedSizes packed;
  for (std::size_t first = 0; first < sizes.size(); first += format::kIndexBlockTiles)
    packed.add_block(sizes.subspan(first, std::min<std::size_t>(format::kIndexBlockTiles, sizes.size() - first)),
                     codec.minimum_row_bytes());
  format::PayloadHeader& header = priced.header;
  packed.num_bytes = scaled(packed.num_bytes, sizes.size(), header.stored_tiles().num_rows);
  packed.describe(header, codec.minimum_row_bytes());

  // A row touches the tiles that it is in.
  const auto tile_bytes = static_cast<double>(header.tile_bytes);
  const auto row_bytes = static_cast<double>(header.geometry.row_bytes);
  const double stored = static_cast<double>(header.rows_bytes) / static_cast<double>(header.stored_tiles().num_rows);
  const double tiles_per_row = row_bytes > tile_bytes ? row_bytes / tile_bytes : 1;
  priced.transfer_bytes = static_cast<double>(header.geometry.num_rows) * touched(tiles_per_row * stored, false);
}

bool price_slotted(std::span<std::uint32_t> sizes, Priced& priced) {
  format::PayloadHeader& header = priced.header;
  const std::uint64_t row_bytes = header.geometry.row_bytes;
  const std::uint64_t num_rows = header.geometry.num_rows;
  const std::uint64_t stride = packing::choose_stride(sizes, row_bytes);
  if (stride >= row_bytes) return false;
  std::uint64_t tail_bytes = 0;
  std::uint64_t num_tails = 0;
  for (const std::uint32_t size : sizes) {
    const std::uint64_t tail = packing::tail_bytes_for(size, stride);
    tail_bytes += tail;
    num_tails += tail > 0;
  }
  header.row_unit = stride;
  header.rows_bytes = num_rows * stride;
  header.index_bits = 0;
  header.index_bytes = 0;
  header.overflow_bytes = scaled(tail_bytes, sizes.size(), num_rows);
  const bool is_aligned = stride % static_cast<std::uint64_t>(kSectorBytes) == 0;
  priced.transfer_bytes = static_cast<double>(num_rows) * touched(static_cast<double>(stride), is_aligned) +
                          static_cast<double>(header.overflow_bytes) +
                          static_cast<double>(scaled(num_tails, sizes.size(), num_rows)) * kSectorBytes;
  return true;
}

}  // namespace

std::vector<std::uint32_t> measured(const RowCodec& codec, std::uint64_t tile_bytes, Bytes sample) {
  std::vector<std::uint32_t> sizes(sample.size() / tile_bytes);
  codec.measure(sample.data(), sizes.size(), sizes.data());
  return sizes;
}

std::optional<Priced> price(const RowCodec& codec, format::PayloadHeader header, std::span<std::uint32_t> sizes) {
  Priced priced{std::move(header), 0};
  priced.header.codec = codec.codec();
  priced.header.plan_bytes = codec.plan().size();
  if (priced.header.packing == Packing::kPacked) {
    price_packed(codec, sizes, priced);
  } else if (!price_slotted(sizes, priced)) {
    return std::nullopt;
  }
  return priced;
}

Priced price_raw(format::PayloadHeader header) {
  header.codec = Codec::kRaw;
  header.plan_bytes = 0;
  header.tile_bytes = header.geometry.row_bytes;
  header.row_unit = header.tile_bytes;
  header.index_bits = 0;
  header.index_bytes = 0;
  header.overflow_bytes = 0;
  header.rows_bytes = header.stored_tiles().num_bytes();
  const auto num_rows = static_cast<double>(header.geometry.num_rows);
  const auto row_bytes = static_cast<double>(header.geometry.row_bytes);
  const bool is_aligned = header.geometry.row_bytes % static_cast<std::uint64_t>(kSectorBytes) == 0;
  return {std::move(header), num_rows * touched(row_bytes, is_aligned)};
}

}  // namespace stillbit::planner
