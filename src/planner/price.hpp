#pragma once

#include "codecs/codec.hpp"
#include "format/payload.hpp"

#include <stillbit/options.hpp>

#include <optional>

namespace stillbit::planner {

/// What a tensor would cost with one codec.
struct Priced {
  format::PayloadHeader header;  ///< of the payload: its sizes are exact where the sample is the whole tensor
  double transfer_bytes = 0;     ///< in 32-byte sectors, that reading every row once would move

  [[nodiscard]] std::uint64_t stored_bytes() const noexcept { return layout_of(header).payload_bytes; }
};

/// Prices a codec by the stored size of each row of the sample: plan, index, padding, slots and overflow as they would
/// be written. `header` has the tensor's geometry, packing, tiles and repeats; `sample` is rows as the codec sees them.
/// Slotted: chooses the stride. Null when rows would not become smaller.
[[nodiscard]] std::optional<Priced> price(const RowCodec& codec, format::PayloadHeader header, Bytes sample);

/// The price of storing rows as they are, but for repeats.
[[nodiscard]] Priced price_raw(format::PayloadHeader header);

}  // namespace stillbit::planner
