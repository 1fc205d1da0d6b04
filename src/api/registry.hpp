#pragma once

#include "codecs/codec.hpp"

#include <span>
#include <string_view>

namespace stillbit {

/// Time to expand a byte, in units of the time in which memory moves one (a memcpy moves two for each of its bytes):
/// measured on one core with AVX-512, docs/benchmarks.md.
struct DecodeCost {
  double narrow;  ///< elements of 1 or 2 bytes
  double wide;    ///< larger ones

  [[nodiscard]] double of(unsigned element_bytes) const noexcept { return element_bytes <= 2 ? narrow : wide; }
};

/// All that the library knows of a codec. Adding one is a folder under codecs/, its number in Codec, and a line here.
struct CodecEntry {
  Codec codec;
  std::string_view name;
  PlanCodec plan;
  OpenCodec open;
  DecodeCost decode_cost;
  /// Its plan takes long to make, and is not made where it cannot be the cheapest.
  bool plans_last = false;
  /// For files at rest and for streams: packed in tiles so large that a row of them takes long to gather. Considered
  /// where it is asked for, or the objective is the smallest size.
  bool is_for_bulk = false;
};

std::span<const CodecEntry> all_codecs() noexcept;

/// Null when the number is unknown: it may come from a file.
const CodecEntry* find_codec(Codec codec) noexcept;

/// Opens a payload's codec.
Result<std::unique_ptr<RowCodec>> open_codec(Codec codec, Bytes plan, std::uint64_t row_bytes);

}  // namespace stillbit
