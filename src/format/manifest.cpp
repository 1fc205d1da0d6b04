#include "format/manifest.hpp"

#include "core/checksum.hpp"
#include "format/manifest_reader.hpp"

#include <nlohmann/json.hpp>

#include <unordered_set>

namespace stillbit::format {
namespace {

using nlohmann::json;

std::uint64_t digest_of(const std::string& text) {
  return digest(std::as_bytes(std::span(text)));
}

}  // namespace

Result<void> attach(const Manifest& manifest, SafetensorsHeader& header) {
  for (const std::string_view reserved : {kManifestKey, kManifestChecksumKey}) {
    if (manifest.metadata.count(std::string(reserved)) > 0) {
      return invalid("the metadata has the reserved key \"" + std::string(reserved) + "\"");
    }
  }
  json tensors = json::array();
  for (const ManifestEntry& entry : manifest.tensors) {
    tensors.push_back({{"name", entry.name},
                       {"payload", entry.payload},
                       {"dtype", entry.dtype},
                       {"shape", entry.shape},
                       {"codec", entry.codec},
                       {"packing", entry.packing}});
    if (!entry.prices.empty()) tensors.back()["prices"] = entry.prices;
  }
  try {
    const std::string text =
        json{{"version", kManifestVersion}, {"metadata", manifest.metadata}, {"tensors", std::move(tensors)}}.dump();
    header.metadata[std::string(kManifestKey)] = text;
    header.metadata[std::string(kManifestChecksumKey)] = to_hex(digest_of(text));
  } catch (const json::exception&) {
    return invalid("a tensor's name or the metadata is not UTF-8");
  }
  if (const auto format = manifest.metadata.find("format"); format != manifest.metadata.end()) {
    header.metadata["format"] = format->second;
  }
  return {};
}

Result<std::optional<Manifest>> find_manifest(const SafetensorsHeader& header) {
  const auto text = header.metadata.find(std::string(kManifestKey));
  if (text == header.metadata.end()) return std::optional<Manifest>();
  const auto checksum = header.metadata.find(std::string(kManifestChecksumKey));
  if (checksum == header.metadata.end() || checksum->second != to_hex(digest_of(text->second))) {
    return corrupt("manifest does not have its checksum");
  }
  STILLBIT_TRY(Manifest manifest, read_manifest(text->second));
  const auto format_of = [](const std::map<std::string, std::string>& metadata) {
    const auto format = metadata.find("format");
    return format == metadata.end() ? std::string() : format->second;
  };
  if (format_of(header.metadata) != format_of(manifest.metadata)) {
    return corrupt("\"format\" in the metadata is not the manifest's");
  }

  std::unordered_set<std::string_view> unnamed;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.dtype != "U8" || entry.shape.size() != 1 || entry.shape[0] != entry.end - entry.begin) {
      return corrupt("tensor \"" + entry.name + "\" is not a payload");
    }
    unnamed.insert(entry.name);
  }
  const auto payloads = unnamed;
  std::unordered_set<std::string_view> names;
  for (const ManifestEntry& entry : manifest.tensors) {
    if (!names.insert(entry.name).second) return corrupt("manifest names tensor \"" + entry.name + "\" twice");
    if (payloads.count(entry.payload) == 0) {
      return corrupt("payload \"" + entry.payload + "\" of tensor \"" + entry.name + "\" is missing");
    }
    unnamed.erase(entry.payload);
  }
  if (!unnamed.empty()) return corrupt("payload \"" + std::string(*unnamed.begin()) + "\" belongs to no tensor");
  return std::optional<Manifest>(std::move(manifest));
}

}  // namespace stillbit::format
