#include "report/model.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace stillbit::report {
namespace {

using Json = nlohmann::ordered_json;

struct Link {
  const char* name;
  double bytes_per_second;
};

/// What the links can carry in one direction: lanes × transfers a second × the share of bits that the line code leaves
/// (PCIe 3.0 to 5.0: 128 of 130), and what the vendor says of NVLink-C2C. Programs reach
/// less, with raw bytes as with compressed ones.
constexpr Link kLinks[] = {
    {"PCIe 3.0 x16", 16 * 8e9 * 128 / 130 / 8},
    {"PCIe 4.0 x16", 16 * 16e9 * 128 / 130 / 8},
    {"PCIe 5.0 x16", 16 * 32e9 * 128 / 130 / 8},
    {"NVLink-C2C", 450e9},
};

template <class What>
Json name_of(const std::optional<What>& what) {
  return what ? Json(std::string(name(*what))) : Json();
}

/// A digit for each share: 63 steps from a half up, and a digit of its own for what is always the same.
std::string digits(const std::vector<float>& shares) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  constexpr float kSteps = 62;
  std::string text;
  text.reserve(shares.size());
  for (const float share : shares) {
    const auto step = static_cast<std::size_t>(std::lround((std::clamp(share, 0.5F, 1.0F) - 0.5F) * 2 * kSteps));
    text += share >= 1.0F ? kDigits.back() : kDigits[step];
  }
  return text;
}

Json invariance(const Invariance& of) {
  return {{"by_stretch", of.is_by_stretch},          {"num_bits", of.num_bits},   {"num_columns", of.num_columns},
          {"columns_per_part", of.columns_per_part}, {"num_parts", of.num_parts}, {"shares", digits(of.shares)}};
}

Json exponents(const Exponents& of) {
  Json uses = Json::array();
  // Thousandths of a bit are more than anyone can see.
  for (const ExponentUse& use : of.uses)
    uses.push_back(Json::array({use.exponent, use.count, std::round(use.stored_bits * 1000) / 1000}));
  return {{"is_integer", of.is_integer},
          {"word_bits", of.word_bits},
          {"exponent_bits", of.exponent_bits},
          {"bias", of.bias},
          {"entropy_bits", of.entropy_bits},
          {"rest_bits", of.rest_bits},
          {"uses", std::move(uses)}};
}

Json bits(const std::array<std::uint64_t, kNumBitUses>& counts) {
  Json result = Json::object();
  for (unsigned use = 0; use < kNumBitUses; ++use) result[std::string(name(static_cast<BitUse>(use)))] = counts[use];
  return result;
}

Json tensor(const TensorAnalysis& analysis) {
  const TensorInfo& info = analysis.info;
  Json prices = Json::object();
  for (const CodecPrice& price : info.prices) prices[std::string(name(price.codec))] = price.stored_bytes;
  Json result = {{"name", info.name},
                 {"dtype", std::string(name(info.dtype))},
                 {"shape", info.shape},
                 {"codec", name_of(info.codec)},
                 {"packing", name_of(info.packing)},
                 {"raw_bytes", info.raw_bytes},
                 {"stored_bytes", info.stored_bytes},
                 {"metadata_bytes", info.metadata_bytes},
                 {"ratio", info.ratio()},
                 {"transfer_ratio", analysis.is_estimate ? Json() : Json(info.transfer_ratio)},
                 {"prices", std::move(prices)},
                 {"num_rows", analysis.num_rows},
                 {"row_bytes", analysis.row_bytes},
                 {"tile_bytes", analysis.tile_bytes},
                 {"num_repeats", analysis.num_repeats},
                 {"same_as", analysis.same_as ? Json(*analysis.same_as) : Json()},
                 {"is_estimate", analysis.is_estimate},
                 {"sampled_bytes", analysis.sampled_bytes},
                 {"bits", bits(analysis.bits)}};
  if (info.raw_bytes > 0) {
    result["invariance"] = invariance(analysis.invariance);
    result["exponents"] = exponents(analysis.exponents);
  }
  return result;
}

/// Within strings only: nothing else of JSON has these letters.
std::string without_markup(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else if (c == '>') {
      text += "\\u003e";
    } else if (c == '&') {
      text += "\\u0026";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string model(const FileAnalysis& analysis, const std::string& file) {
  Json links = Json::array();
  for (const Link& link : kLinks) links.push_back({{"name", link.name}, {"bytes_per_second", link.bytes_per_second}});
  Json tensors = Json::array();
  for (const TensorAnalysis& each : analysis.tensors) tensors.push_back(tensor(each));
  Json metadata = Json::object();
  for (const auto& [key, value] : analysis.metadata) metadata[key] = value;
  const Json result = {{"version", STILLBIT_VERSION},
                       {"file", file},
                       {"is_compressed", analysis.is_compressed},
                       {"file_bytes", analysis.file_bytes},
                       {"raw_bytes", analysis.raw_bytes},
                       {"stored_bytes", analysis.stored_bytes},
                       {"metadata", std::move(metadata)},
                       {"links", std::move(links)},
                       {"tensors", std::move(tensors)}};
  return without_markup(result.dump(-1, ' ', true, Json::error_handler_t::replace));
}

}  // namespace stillbit::report
