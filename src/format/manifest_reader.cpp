#include "format/manifest_reader.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <optional>
#include <utility>

namespace stillbit::format {
namespace {

/// Takes a manifest apart as it is parsed. A document tree would take several times as long, and as much memory as a
/// hostile text wants. Where a key comes twice, the last one counts.
class ManifestReader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Result<Manifest> finish() && {
    // What is wrong by this version may be right by a later one.
    if (version_ && *version_ != kManifestVersion) {
      return unsupported("file has manifest version " + std::to_string(*version_) + "; this library reads version " +
                         std::to_string(kManifestVersion));
    }
    if (!version_) complain("there is no \"version\"");
    if (!has_metadata_) complain("there is no \"metadata\"");
    if (!has_tensors_) complain("there are no \"tensors\"");
    if (!error_.empty()) return corrupt("manifest is malformed: " + error_);
    return std::move(manifest_);
  }

  bool key(string_t& key) {
    if (num_ignored_ > 0) return true;
    key_ = std::move(key);
    if (place_ == Place::kEntry) field_ = field_named(key_);
    return true;
  }

  bool start_object(std::size_t) {
    if (num_ignored_ > 0) return ignore();
    if (place_ == Place::kStart) return enter(Place::kTop);
    if (place_ == Place::kTop && key_ == "metadata") {
      manifest_.metadata.clear();
      has_metadata_ = true;
      return enter(Place::kMetadata);
    }
    if (place_ == Place::kTensors) {
      manifest_.tensors.emplace_back();
      given_ = {};
      return enter(Place::kEntry);
    }
    if (place_ == Place::kEntry && key_ == "prices") {
      manifest_.tensors.back().prices.clear();
      return enter(Place::kPrices);
    }
    return unexpected("an object") && ignore();
  }

  bool start_array(std::size_t) {
    if (num_ignored_ > 0) return ignore();
    if (place_ == Place::kTop && key_ == "tensors") {
      manifest_.tensors.clear();
      has_tensors_ = true;
      return enter(Place::kTensors);
    }
    if (place_ == Place::kEntry && field_ == kShape) {
      manifest_.tensors.back().shape.clear();
      given_[kShape] = true;
      return enter(Place::kShape);
    }
    return unexpected("an array") && ignore();
  }

  bool end_object() {
    if (num_ignored_ > 0) return --num_ignored_, true;
    switch (place_) {
      case Place::kPrices:
        return enter(Place::kEntry);
      case Place::kEntry:
        for (std::size_t field = 0; field < kNumFields; ++field) {
          if (!given_[field]) complain(entry() + " has no \"" + kFieldNames[field] + '"');
        }
        return enter(Place::kTensors);
      case Place::kMetadata:
        return enter(Place::kTop);
      default:
        return enter(Place::kStart);
    }
  }

  bool end_array() {
    if (num_ignored_ > 0) return --num_ignored_, true;
    return enter(place_ == Place::kShape ? Place::kEntry : Place::kTop);
  }

  bool string(string_t& value) {
    if (num_ignored_ > 0) return true;
    if (place_ == Place::kMetadata) {
      manifest_.metadata.insert_or_assign(std::move(key_), std::move(value));
      return true;
    }
    if (place_ != Place::kEntry || field_ >= kShape) return unexpected("a string");
    ManifestEntry& entry = manifest_.tensors.back();
    std::string* const fields[] = {&entry.name, &entry.payload, &entry.dtype, &entry.codec, &entry.packing};
    *fields[field_] = std::move(value);
    return given_[field_] = true;
  }

  bool number_unsigned(number_unsigned_t value) {
    if (num_ignored_ > 0) return true;
    if (place_ == Place::kShape) {
      manifest_.tensors.back().shape.push_back(value);
    } else if (place_ == Place::kPrices) {
      manifest_.tensors.back().prices[key_] = value;
    } else if (place_ == Place::kTop && key_ == "version") {
      version_ = static_cast<std::int64_t>(value);
    } else {
      return unexpected("a number");
    }
    return true;
  }

  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) { return unexpected("a fraction"); }
  bool binary(binary_t&) { return unexpected("a binary value"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    error_ = "not valid JSON near byte " + std::to_string(position);
    version_ = kManifestVersion;  // a version in a text that breaks off says nothing
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensors, kEntry, kShape, kPrices };

  /// Those of an entry that must be there; all but the last are strings.
  enum Field : std::size_t { kName, kPayload, kDType, kCodec, kPacking, kShape, kNumFields };
  static constexpr std::array<const char*, kNumFields> kFieldNames = {"name",  "payload", "dtype",
                                                                      "codec", "packing", "shape"};

  static std::size_t field_named(const std::string& key) {
    std::size_t field = 0;
    while (field < kNumFields && key != kFieldNames[field]) ++field;
    return field;
  }

  bool enter(Place place) {
    place_ = place;
    return true;
  }

  bool ignore() {
    ++num_ignored_;
    return true;
  }

  /// Goes on behind a value that does not belong where it is: what the format knows nothing of may be anything.
  bool unexpected(const char* what) {
    if (num_ignored_ > 0 || place_ == Place::kPrices) return true;
    const bool is_known = place_ == Place::kTop     ? key_ == "version" || key_ == "metadata" || key_ == "tensors"
                          : place_ == Place::kEntry ? field_ < kNumFields
                                                    : true;
    if (is_known) complain("there is " + std::string(what) + where());
    return true;
  }

  [[nodiscard]] std::string where() const {
    switch (place_) {
      case Place::kStart:
        return "";
      case Place::kTensors:
        return " among the tensors";
      case Place::kEntry:
        return " as \"" + key_ + "\" of " + entry();
      case Place::kShape:
        return " in the shape of " + entry();
      default:
        return " as \"" + key_ + '"';
    }
  }

  [[nodiscard]] std::string entry() const {
    const std::string& name = manifest_.tensors.back().name;
    return "tensor " + (name.empty() ? std::to_string(manifest_.tensors.size() - 1) : '"' + name + '"');
  }

  void complain(const std::string& what) {
    if (error_.empty()) error_ = what;
  }

  Manifest manifest_;
  std::optional<std::int64_t> version_;
  bool has_metadata_ = false;
  bool has_tensors_ = false;
  std::string error_;

  Place place_ = Place::kStart;
  std::string key_;
  std::size_t field_ = kNumFields;        ///< that the last key names
  std::array<bool, kNumFields> given_{};  ///< of the entry
  std::uint64_t num_ignored_ = 0;         ///< objects and arrays around the place that are passed over
};

}  // namespace

Result<Manifest> read_manifest(const std::string& text) {
  // The JSON library would skip a byte-order mark and end at a zero byte: neither is JSON.
  if (text.find('\0') != std::string::npos || text.rfind("\xEF\xBB\xBF", 0) == 0)
    return corrupt("manifest is malformed: not valid JSON");
  ManifestReader reader;
  nlohmann::json::sax_parse(text, &reader);
  return std::move(reader).finish();
}

}  // namespace stillbit::format
