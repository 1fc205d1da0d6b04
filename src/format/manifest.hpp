#pragma once

#include "core/result.hpp"
#include "format/safetensors.hpp"

#include <stillbit/dtype.hpp>
#include <stillbit/options.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace stillbit::format {

inline constexpr std::string_view kManifestKey = "stillbit";
inline constexpr std::string_view kManifestChecksumKey = "stillbit.checksum";
inline constexpr std::string_view kPayloadSuffix = ".stillbit";

/// What a compressed file says of one tensor, besides what its payload says itself.
struct ManifestEntry {
  std::string name;
  std::string payload;  ///< the safetensors key of the payload
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string codec;
  std::string packing;
  std::map<std::string, std::uint64_t> prices;  ///< by codec: what the tensor would have taken; may be empty
};

/// The JSON text in a compressed file's `__metadata__` (docs/format.md, "File").
struct Manifest {
  std::map<std::string, std::string> metadata;  ///< of the source file
  std::vector<ManifestEntry> tensors;           ///< in the order of the source
};

/// Puts the manifest and its checksum into a header's metadata.
Result<void> attach(const Manifest& manifest, SafetensorsHeader& header);

/// The manifest of a compressed file; nothing when the file is an ordinary safetensors file. Validates its checksum,
/// that names are unique, and that tensors and payloads belong to each other.
Result<std::optional<Manifest>> find_manifest(const SafetensorsHeader& header);

}  // namespace stillbit::format
