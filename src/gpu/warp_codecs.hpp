#pragma once

#include "codecs/dictionary/warp.hpp"
#include "codecs/escape/warp.hpp"
#include "codecs/ibp/warp.hpp"
#include "codecs/rans/warp.hpp"
#include "codecs/raw/warp.hpp"
#include "codecs/sparse/warp.hpp"
#include "codecs/window/warp.hpp"
#include "warp/with_word.hpp"

#include <stillbit/options.hpp>

#include <cstdint>
#include <utility>

// What warps know of codecs: the registry's counterpart.

namespace stillbit {

/// Calls `body` with a value of the type in the codec's warp.hpp for words of `view_bytes` bytes.
template <class Body>
decltype(auto) with_warp_codec(Codec codec, unsigned view_bytes, const Body& body) {
  switch (codec) {
    case Codec::kIbp:
      return with_word<ibp::WarpCodec>(view_bytes, body);
    case Codec::kWindow:
      return with_word<window::WarpCodec>(view_bytes, body);
    case Codec::kEscape:
      return with_word<escape::WarpCodec>(view_bytes, body);
    case Codec::kSparse:
      return with_word<sparse::WarpCodec>(view_bytes, body);
    case Codec::kDictionary:
      return with_word<dictionary::WarpCodec>(view_bytes, body);
    case Codec::kRans:
      return with_word<rans::WarpCodec>(view_bytes, body);
    default:
      return body(raw::WarpCodec<std::uint8_t>());
  }
}

}  // namespace stillbit
