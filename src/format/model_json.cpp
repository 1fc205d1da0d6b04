#include "format/model_json.hpp"

#include <nlohmann/json.hpp>

namespace stillbit::format {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr const char* kEntry = "quantization_config";
constexpr const char* kMethod = "stillbit";

/// Configs are flat; what is nested without end is no config, and writing it would take a stack without end.
constexpr int kDeepest = 64;

Result<Json> parse(const std::string& text) {
  bool is_too_deep = false;
  const auto guard = [&](int depth, Json::parse_event_t, Json&) {
    is_too_deep = is_too_deep || depth > kDeepest;
    return depth <= kDeepest;
  };
  try {
    Json document = Json::parse(text, guard);
    if (is_too_deep) return corrupt("nested more than " + std::to_string(kDeepest) + " deep");
    if (!document.is_object()) return corrupt("no JSON object");
    return document;
  } catch (const Json::exception& error) {
    return corrupt(std::string("not valid JSON: ") + error.what());
  }
}

std::string text_of(const Json& document) {
  return document.dump(2) + "\n";
}

bool is_ours(const Json& config) {
  const auto entry = config.find(kEntry);
  if (entry == config.end() || !entry->is_object()) return false;
  const auto method = entry->find("quant_method");
  return method != entry->end() && *method == kMethod;
}

}  // namespace

Result<std::string> with_quantization_entry(const std::string& config, const std::optional<std::string>& dtype) {
  STILLBIT_TRY(Json document, parse(config));
  if (is_ours(document)) return invalid("says that the weights are compressed, which they are not");
  Json entry{{"quant_method", kMethod}, {"version", kVersion}};
  if (dtype) entry["dtype"] = *dtype;
  if (const auto own = document.find(kEntry); own != document.end() && !own->is_null()) entry[kEntry] = *own;
  document[kEntry] = std::move(entry);
  return text_of(document);
}

Result<std::string> without_quantization_entry(const std::string& config) {
  STILLBIT_TRY(Json document, parse(config));
  if (!is_ours(document)) return config;
  const Json entry = document[kEntry];
  if (const auto own = entry.find(kEntry); own != entry.end()) {
    document[kEntry] = *own;
  } else {
    document.erase(kEntry);
  }
  return text_of(document);
}

Result<std::string> compressed_index(const std::string& index, const std::map<std::string, std::string>& shard_of,
                                     std::uint64_t total_bytes) {
  STILLBIT_TRY(const Json source, parse(index));
  Json own{{"version", kVersion}};
  if (const auto metadata = source.find("metadata"); metadata != source.end()) own["metadata"] = *metadata;
  const Json document{{"metadata", {{"total_size", total_bytes}, {"stillbit", std::move(own)}}},
                      {"weight_map", shard_of}};
  return text_of(document);
}

Result<std::string> expanded_index(const std::string& index, const std::map<std::string, std::string>& shard_of) {
  STILLBIT_TRY(const Json source, parse(index));
  Json document = Json::object();
  const Json::json_pointer kept("/metadata/stillbit/metadata");
  if (source.contains(kept)) document["metadata"] = source[kept];
  document["weight_map"] = shard_of;
  return text_of(document);
}

}  // namespace stillbit::format
