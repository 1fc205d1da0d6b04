#include "format/safetensors.hpp"

#include "core/checked.hpp"
#include "core/shape.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_set>

namespace stillbit::format {
namespace {

/// What the reference implementation allows.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// Takes the header apart as it is parsed. A document tree would cost hostile files a hundred times their size, and
/// would swallow duplicate names.
class HeaderReader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  SafetensorsHeader header;
  std::string error;

  bool start_object(std::size_t) {
    if (state_ == State::kStart) return enter(State::kTop);
    if (state_ == State::kTop && have_key_) {
      have_key_ = false;
      if (key_ == "__metadata__") return enter(State::kMetadata);
      header.entries.push_back({key_, {}, {}, 0, 0});
      has_dtype_ = has_shape_ = has_offsets_ = false;
      offsets_.clear();
      return enter(State::kEntry);
    }
    return fail("unexpected object");
  }

  bool key(string_t& key) {
    if (state_ == State::kTop || state_ == State::kMetadata) {
      auto& seen = state_ == State::kTop ? names_ : metadata_keys_;
      if (!seen.insert(key).second) return fail("duplicate name \"" + key + "\"");
    }
    key_ = key;
    have_key_ = true;
    return true;
  }

  bool string(string_t& value) {
    if (!std::exchange(have_key_, false)) return fail("unexpected string");
    if (state_ == State::kMetadata) {
      header.metadata.emplace(key_, std::move(value));  // the manifest may be long
      return true;
    }
    if (state_ == State::kEntry && key_ == "dtype" && !has_dtype_) {
      header.entries.back().dtype = value;
      return has_dtype_ = true;
    }
    return fail("unexpected string");
  }

  bool start_array(std::size_t) {
    if (state_ == State::kEntry && std::exchange(have_key_, false)) {
      if (key_ == "shape" && !has_shape_) {
        has_shape_ = true;
        return enter(State::kShape);
      }
      if (key_ == "data_offsets" && !has_offsets_) {
        has_offsets_ = true;
        return enter(State::kOffsets);
      }
    }
    return fail("unexpected array");
  }

  bool number_unsigned(number_unsigned_t value) {
    if (state_ == State::kShape) {
      if (header.entries.back().shape.size() == kMaxRank) return fail("too many dimensions");
      header.entries.back().shape.push_back(value);
      return true;
    }
    if (state_ == State::kOffsets && offsets_.size() < 2) {
      offsets_.push_back(value);
      return true;
    }
    return fail("unexpected number");
  }

  bool end_array() { return enter(State::kEntry); }

  bool end_object() {
    if (state_ == State::kEntry) {
      if (!has_dtype_ || !has_shape_ || offsets_.size() != 2) return fail("dtype, shape or data_offsets missing");
      header.entries.back().begin = offsets_[0];
      header.entries.back().end = offsets_[1];
    }
    return enter(state_ == State::kTop ? State::kEnd : State::kTop);
  }

  bool null() {
    if (state_ == State::kTop && have_key_ && key_ == "__metadata__") {
      have_key_ = false;
      return true;
    }
    return fail("unexpected null");
  }
  bool boolean(bool) { return fail("unexpected boolean"); }
  bool number_integer(number_integer_t) { return fail("unexpected negative number"); }
  bool number_float(number_float_t, const string_t&) { return fail("unexpected fraction"); }
  bool binary(binary_t&) { return fail("unexpected binary value"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    return fail("not valid JSON near byte " + std::to_string(position));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kEntry, kShape, kOffsets, kEnd };

  bool enter(State state) {
    state_ = state;
    return true;
  }

  bool fail(const std::string& what) {
    error = what;
    const bool in_entry = state_ == State::kEntry || state_ == State::kShape || state_ == State::kOffsets;
    if (in_entry) error += " in tensor \"" + header.entries.back().name + "\"";
    return false;
  }

  State state_ = State::kStart;
  std::string key_;
  bool have_key_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::vector<std::uint64_t> offsets_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> metadata_keys_;
};

}  // namespace

Result<SafetensorsHeader> parse_safetensors(Bytes file) {
  if (file.size() < 8) return corrupt("not a safetensors file: shorter than 8 bytes");
  const auto header_bytes = load<std::uint64_t>(file.data());
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - 8) {
    return corrupt("not a safetensors file, or cut short: header of " + std::to_string(header_bytes) +
                   " bytes in a file of " + std::to_string(file.size()));
  }
  const char* text = reinterpret_cast<const char*>(file.data()) + 8;
  // The JSON library would skip a byte-order mark and end at a zero byte: neither is JSON.
  if (header_bytes == 0 || text[0] != '{' || std::memchr(text, 0, header_bytes) != nullptr) {
    return corrupt("safetensors header: not valid JSON");
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(text, text + header_bytes, &reader)) {
    return corrupt("safetensors header: " + (reader.error.empty() ? "not valid JSON" : reader.error));
  }

  SafetensorsHeader& header = reader.header;
  header.data_offset = 8 + header_bytes;
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t expected = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != expected || entry.end < entry.begin) {
      return corrupt("safetensors header: tensor \"" + entry.name + "\" leaves a hole or overlaps");
    }
    expected = entry.end;
  }
  if (expected != file.size() - header.data_offset) {
    return corrupt("the tensors take " + std::to_string(expected) + " bytes, the file has " +
                   std::to_string(file.size() - header.data_offset) + ": cut short or too long");
  }
  return std::move(header);
}

Result<std::string> serialize_safetensors(const SafetensorsHeader& header, std::uint64_t data_alignment) {
  nlohmann::ordered_json::string_t text = "{";
  try {
    const auto quoted = [](const std::string& value) { return nlohmann::json(value).dump(); };
    if (!header.metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(header.metadata).dump();
    for (const SafetensorsEntry& entry : header.entries) {
      if (entry.name == "__metadata__") return invalid("a safetensors file cannot hold a tensor named __metadata__");
      if (text.size() > 1) text += ',';
      text += quoted(entry.name) + ":{\"dtype\":" + quoted(entry.dtype) +
              ",\"shape\":" + nlohmann::json(entry.shape).dump() + ",\"data_offsets\":[" + std::to_string(entry.begin) +
              "," + std::to_string(entry.end) + "]}";
    }
  } catch (const nlohmann::json::exception&) {
    return invalid("a tensor's name or the metadata is not UTF-8");
  }
  text += '}';
  text.resize(align_up(text.size() + 8, data_alignment) - 8, ' ');
  if (text.size() > kMaxHeaderBytes) return invalid("the header would be larger than safetensors allows");
  const std::uint64_t size = text.size();
  text.insert(0, reinterpret_cast<const char*>(&size), 8);
  return text;
}

}  // namespace stillbit::format
