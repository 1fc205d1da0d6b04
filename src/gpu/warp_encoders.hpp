#pragma once

#include "gpu/warp_codecs.hpp"
#include "codecs/escape/warp_encode.hpp"
#include "codecs/ibp/warp_encode.hpp"
#include "codecs/raw/warp_encode.hpp"
#include "codecs/window/warp_encode.hpp"

// The codecs that warps encode with.

namespace stillbit {

[[nodiscard]] constexpr bool has_warp_encoder(Codec codec) noexcept {
  return codec == Codec::kRaw || codec == Codec::kIbp || codec == Codec::kWindow || codec == Codec::kEscape;
}

/// Calls `body` with a value of the type in the codec's warp_encode.hpp for words of `view_bytes` bytes.
/// Precondition: has_warp_encoder(codec).
template <class Body>
decltype(auto) with_warp_encoder(Codec codec, unsigned view_bytes, const Body& body) {
  switch (codec) {
    case Codec::kIbp:
      return with_word<ibp::WarpEncoder>(view_bytes, body);
    case Codec::kWindow:
      return with_word<window::WarpEncoder>(view_bytes, body);
    case Codec::kEscape:
      return with_word<escape::WarpEncoder>(view_bytes, body);
    default:
      return body(raw::WarpEncoder<std::uint8_t>());
  }
}

}  // namespace stillbit
