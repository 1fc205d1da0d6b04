#pragma once

#include "codecs/codec.hpp"
#include "format/payload.hpp"

#include <stillbit/options.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stillbit::planner {

/// What a tensor would cost with one codec.
struct Priced {
  format::PayloadHeader header;  ///< of the payload: its sizes are exact where the sample is the whole tensor
  double transfer_bytes = 0;     ///< in 32-byte sectors, that reading every row once would move

  [[nodiscard]] std::uint64_t stored_bytes() const noexcept { return layout_of(header).payload_bytes; }
};

/// The stored size of each row of a sample, which is rows as the codec sees them.
[[nodiscard]] std::vector<std::uint32_t> measured(const RowCodec& codec, std::uint64_t tile_bytes, Bytes sample);

/// Prices a codec by what was measured: plan, index, padding, slots and overflow as they would be written. `header` has
/// the tensor's geometry, packing, tiles and repeats. Slotted: chooses the stride, for which it puts the sizes in
/// order. Null when rows would not become smaller.
[[nodiscard]] std::optional<Priced> price(const RowCodec& codec, format::PayloadHeader header,
                                          std::span<std::uint32_t> sizes);

/// The price of storing rows as they are, but for repeats.
[[nodiscard]] Priced price_raw(format::PayloadHeader header);

}  // namespace stillbit::planner
