#pragma once

#include "core/result.hpp"
#include "format/manifest.hpp"

#include <string>

namespace stillbit::format {

inline constexpr std::int64_t kManifestVersion = 1;

/// The manifest that a JSON text is. What the format does not know in it is passed over.
Result<Manifest> read_manifest(const std::string& text);

}  // namespace stillbit::format
