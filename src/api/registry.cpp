#include "api/registry.hpp"

#include "codecs/dictionary/dictionary.hpp"
#include "codecs/escape/escape.hpp"
#include "codecs/ibp/ibp.hpp"
#include "codecs/rans/rans.hpp"
#include "codecs/raw/raw.hpp"
#include "codecs/sparse/sparse.hpp"
#include "codecs/window/window.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace stillbit {
namespace {

constexpr std::array kCodecs{
    CodecEntry{Codec::kRaw, "raw", raw::plan, raw::open, {1.0, 1.0}},
    CodecEntry{Codec::kIbp, "ibp", ibp::plan, ibp::open, {4.9, 4.7}},
    CodecEntry{Codec::kWindow, "window", window::plan, window::open, {1.4, 1.5}},
    CodecEntry{Codec::kEscape, "escape", escape::plan, escape::open, {2.0, 1.4}},
    CodecEntry{Codec::kSparse, "sparse", sparse::plan, sparse::open, {1.4, 1.4}, true},
    CodecEntry{Codec::kDictionary, "dictionary", dictionary::plan, dictionary::open, {10.0, 10.0}, true},
    CodecEntry{Codec::kRans, "rans", rans::plan, rans::open, {8.0, 5.0}, false, true},
};

}  // namespace

std::span<const CodecEntry> all_codecs() noexcept {
  return kCodecs;
}

const CodecEntry* find_codec(Codec codec) noexcept {
  const auto* found =
      std::find_if(kCodecs.begin(), kCodecs.end(), [&](const auto& entry) { return entry.codec == codec; });
  return found == kCodecs.end() ? nullptr : found;
}

Result<std::unique_ptr<RowCodec>> open_codec(Codec codec, Bytes plan, std::uint64_t row_bytes) {
  const CodecEntry* entry = find_codec(codec);
  if (entry == nullptr) {
    return unsupported("codec number " + std::to_string(static_cast<unsigned>(codec)) +
                       " is not known to this library");
  }
  return entry->open(plan, row_bytes);
}

std::string_view name(Codec codec) noexcept {
  const CodecEntry* entry = find_codec(codec);
  return entry == nullptr ? "unknown" : entry->name;
}

std::optional<Codec> codec_from_name(std::string_view name) noexcept {
  for (const CodecEntry& entry : kCodecs) {
    if (entry.name == name) return entry.codec;
  }
  return std::nullopt;
}

}  // namespace stillbit
