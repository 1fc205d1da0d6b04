#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace stillbit::format {

/// One tensor of a safetensors file. `dtype` stays a string: a file may hold types that this library does not know.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0;  ///< first byte, counted from the start of the data
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsEntry> entries;  ///< in the order of their data
  std::uint64_t data_offset = 0;          ///< where the data starts in the file
};

/// Reads and validates the header of a whole file: one object, no duplicate names, offsets that cover the data without
/// holes or overlaps, at most 100 MB of it.
Result<SafetensorsHeader> parse_safetensors(Bytes file);

/// The header's bytes, the length before it included, filled with spaces so that the data starts at a multiple of
/// `data_alignment`. Fails when a string is not UTF-8.
Result<std::string> serialize_safetensors(const SafetensorsHeader& header, std::uint64_t data_alignment);

}  // namespace stillbit::format
