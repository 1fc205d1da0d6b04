#include "format/manifest.hpp"

#include "core/checksum.hpp"

#include <nlohmann/json.hpp>

#include <unordered_set>

namespace stillbit::format {
namespace {

using nlohmann::json;

constexpr int kManifestVersion = 1;

std::uint64_t digest_of(const std::string& text) {
  return digest(std::as_bytes(std::span(text)));
}

/// Nothing but what `inspect` shows depends on prices: what is not as it should be is left out.
std::map<std::string, std::uint64_t> prices_from_json(const json& object) {
  std::map<std::string, std::uint64_t> prices;
  const auto found = object.find("prices");
  if (found == object.end() || !found->is_object()) return prices;
  for (const auto& [codec, stored_bytes] : found->items()) {
    if (stored_bytes.is_number_unsigned()) prices[codec] = stored_bytes.get<std::uint64_t>();
  }
  return prices;
}

ManifestEntry entry_from_json(const json& object) {
  return {object.at("name").get<std::string>(),
          object.at("payload").get<std::string>(),
          object.at("dtype").get<std::string>(),
          object.at("shape").get<std::vector<std::uint64_t>>(),
          object.at("codec").get<std::string>(),
          object.at("packing").get<std::string>(),
          prices_from_json(object)};
}

/// Drops what the format does not know while it is parsed: hostile texts would build large trees of it.
bool keep_known(int depth, json::parse_event_t event, json& value) {
  constexpr int kDeepest = 4;  // the object, "tensors", an entry, its "shape"
  if (event == json::parse_event_t::key && depth == 1) {
    return value == "version" || value == "metadata" || value == "tensors";
  }
  return depth < kDeepest || (event != json::parse_event_t::object_start && event != json::parse_event_t::array_start);
}

Result<Manifest> parse(const std::string& text) {
  try {
    const json document = json::parse(text, keep_known);
    if (const auto version = document.at("version").get<std::int64_t>(); version != kManifestVersion) {
      return unsupported("file has manifest version " + std::to_string(version) + "; this library reads version " +
                         std::to_string(kManifestVersion));
    }
    Manifest manifest;
    manifest.metadata = document.at("metadata").get<std::map<std::string, std::string>>();
    for (const json& object : document.at("tensors")) manifest.tensors.push_back(entry_from_json(object));
    return manifest;
  } catch (const json::exception& error) {
    return corrupt(std::string("manifest is malformed: ") + error.what());
  }
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
  STILLBIT_TRY(Manifest manifest, parse(text->second));
  const auto format_of = [](const std::map<std::string, std::string>& metadata) {
    const auto format = metadata.find("format");
    return format == metadata.end() ? std::string() : format->second;
  };
  if (format_of(header.metadata) != format_of(manifest.metadata)) {
    return corrupt("\"format\" in the metadata is not the manifest's");
  }

  std::unordered_set<std::string> unnamed;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.dtype != "U8" || entry.shape.size() != 1 || entry.shape[0] != entry.end - entry.begin) {
      return corrupt("tensor \"" + entry.name + "\" is not a payload");
    }
    unnamed.insert(entry.name);
  }
  const auto payloads = unnamed;
  std::unordered_set<std::string> names;
  for (const ManifestEntry& entry : manifest.tensors) {
    if (!names.insert(entry.name).second) return corrupt("manifest names tensor \"" + entry.name + "\" twice");
    if (payloads.count(entry.payload) == 0) {
      return corrupt("payload \"" + entry.payload + "\" of tensor \"" + entry.name + "\" is missing");
    }
    unnamed.erase(entry.payload);
  }
  if (!unnamed.empty()) return corrupt("payload \"" + *unnamed.begin() + "\" belongs to no tensor");
  return std::optional<Manifest>(std::move(manifest));
}

}  // namespace stillbit::format
