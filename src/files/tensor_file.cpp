#include "files/tensor_file.hpp"

#include "api/compressed_tensor.hpp"
#include "api/registry.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "core/shape.hpp"
#include "cpu/parallel.hpp"
#include "format/npy.hpp"
#include "format/safetensors.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_map>

namespace stillbit {
namespace {

Result<std::shared_ptr<io::MappedFile>> map_file(const std::filesystem::path& path, TensorFile& file) {
  STILLBIT_TRY(io::MappedFile mapped, io::MappedFile::open(path));
  auto shared = std::make_shared<io::MappedFile>(std::move(mapped));
  file.file_bytes += shared->bytes().size();
  file.mappings.push_back(shared);
  return shared;
}

/// Elements in C order of an array that lies in Fortran order.
std::vector<std::byte> to_c_order(Bytes data, std::span<const std::uint64_t> shape, unsigned element_bytes) {
  std::vector<std::byte> out(data.size());
  std::vector<std::uint64_t> position(shape.size(), 0);
  std::vector<std::uint64_t> stride(shape.size(), element_bytes);
  for (std::size_t i = 1; i < shape.size(); ++i) stride[i] = stride[i - 1] * shape[i - 1];
  std::uint64_t from = 0;
  for (std::uint64_t to = 0; to < out.size(); to += element_bytes) {
    std::memcpy(out.data() + to, data.data() + from, element_bytes);
    for (std::size_t i = shape.size(); i-- > 0;) {
      from += stride[i];
      if (++position[i] < shape[i]) break;
      from -= stride[i] * shape[i];
      position[i] = 0;
    }
  }
  return out;
}

Result<void> add_raw(const format::SafetensorsHeader& header, Bytes bytes, TensorFile& file) {
  for (const format::SafetensorsEntry& entry : header.entries) {
    const auto dtype = dtype_from_name(entry.dtype);
    if (!dtype || name(*dtype) != entry.dtype) {
      return in_context(quoted_tensor(entry.name), unsupported("dtype \"" + entry.dtype + "\" is not supported"));
    }
    const auto geometry = row_geometry(*dtype, entry.shape, 0);
    if (!geometry.ok()) return in_context(quoted_tensor(entry.name), corrupt(geometry.fault().message));
    if (geometry.value().num_bytes() != entry.end - entry.begin) {
      return in_context(quoted_tensor(entry.name),
                        corrupt("shape " + to_string(entry.shape) + " of " + entry.dtype + " does not take the " +
                                std::to_string(entry.end - entry.begin) + " bytes that the header gives it"));
    }
    file.raw.push_back(
        {entry.name,
         {bytes.subspan(header.data_offset + entry.begin, entry.end - entry.begin), *dtype, entry.shape, false}});
  }
  return {};
}

/// What the manifest says must be what the payload says.
Result<void> check_entry(const format::ManifestEntry& entry, const CompressedTensor& tensor) {
  const bool same = entry.dtype == name(tensor.dtype()) && entry.shape == tensor.shape() &&
                    entry.codec == name(tensor.codec()) && entry.packing == name(tensor.packing());
  if (same) return {};
  return corrupt("manifest and payload differ in dtype, shape, codec or packing");
}

/// A payload, and the first of the tensors that it is.
struct Payload {
  Bytes bytes;
  const format::ManifestEntry* entry;
  std::shared_ptr<CompressedTensor> tensor = nullptr;
};

std::vector<CodecPrice> known_prices(const format::ManifestEntry& entry) {
  std::vector<CodecPrice> prices;
  for (const auto& [codec, stored_bytes] : entry.prices) {
    if (const auto known = codec_from_name(codec)) prices.push_back({*known, stored_bytes});
  }
  return prices;
}

/// Headers and plans are read and validated by several threads where there are many: a dictionary takes 50 µs.
Result<void> open_payloads(std::vector<Payload>& payloads, const std::shared_ptr<const void>& mapping) {
  constexpr std::size_t kTaskPayloads = 32;
  const std::size_t num_tasks = ceil_div(payloads.size(), kTaskPayloads);
  const unsigned threads = num_tasks < 2 ? 1 : cpu::resolve_threads(0);
  return cpu::parallel_for(num_tasks, threads, [&](std::uint64_t task, unsigned) -> Result<void> {
    const std::size_t end = std::min(payloads.size(), (task + 1) * kTaskPayloads);
    for (std::size_t i = task * kTaskPayloads; i < end; ++i) {
      auto opened = open_mapped(payloads[i].bytes, mapping, known_prices(*payloads[i].entry));
      if (!opened.ok()) return in_context(quoted_tensor(payloads[i].entry->name), opened.fault());
      payloads[i].tensor = std::make_shared<CompressedTensor>(std::move(opened).value());
    }
    return {};
  });
}

Result<void> add_stored(const format::SafetensorsHeader& header, format::Manifest manifest, Bytes bytes,
                        const std::shared_ptr<const void>& mapping, TensorFile& file) {
  std::unordered_map<std::string_view, Bytes> bytes_of;
  for (const format::SafetensorsEntry& entry : header.entries) {
    bytes_of[entry.name] = bytes.subspan(header.data_offset + entry.begin, entry.end - entry.begin);
  }
  std::vector<Payload> payloads;
  std::unordered_map<std::string_view, std::size_t> number_of;
  for (const format::ManifestEntry& entry : manifest.tensors) {
    if (number_of.emplace(entry.payload, payloads.size()).second)
      payloads.push_back({bytes_of.at(entry.payload), &entry});
  }
  STILLBIT_CHECK(open_payloads(payloads, mapping));
  for (const format::ManifestEntry& entry : manifest.tensors) {
    const Payload& payload = payloads[number_of.at(entry.payload)];
    if (const auto same = check_entry(entry, *payload.tensor); !same.ok())
      return in_context(quoted_tensor(entry.name), same.fault());
    file.stored.push_back({entry.name, entry.payload, payload.bytes, payload.tensor});
  }
  std::uint64_t raw_bytes = 0;
  for (const TensorFile::StoredTensor& stored : file.stored) {
    raw_bytes += stored.tensor->raw_bytes();
    if (raw_bytes >= kMaxTensorBytes) return corrupt("the tensors are too large together");
  }
  file.metadata = std::move(manifest.metadata);
  file.is_compressed = true;
  return {};
}

Result<void> open_npy(const std::filesystem::path& path, TensorFile& file) {
  STILLBIT_TRY(const auto mapped, map_file(path, file));
  STILLBIT_CHECK(read_npy(mapped->bytes(), path.stem().string(), file));
  for (TensorFile::RawTensor& tensor : file.raw) tensor.source.is_mapped = file.owned.empty();
  return {};
}

Result<void> open_safetensors(const std::filesystem::path& path, TensorFile& file) {
  STILLBIT_TRY(const auto mapped, map_file(path, file));
  STILLBIT_CHECK(read_safetensors(mapped->bytes(), mapped, file));
  for (TensorFile::RawTensor& tensor : file.raw) tensor.source.is_mapped = true;
  return {};
}

/// Which shard holds each tensor, as an index says.
Result<std::map<std::string, std::string>> parse_weight_map(const std::string& text) {
  std::map<std::string, std::string> shard_of;
  // The JSON library would skip a byte-order mark and end at a zero byte: neither is JSON.
  if (text.find('\0') != std::string::npos || text.rfind("\xEF\xBB\xBF", 0) == 0)
    return corrupt("the index is not valid JSON");
  try {
    const auto index =
        nlohmann::json::parse(text, [](int depth, nlohmann::json::parse_event_t event, nlohmann::json& key) {
          // Nothing else is looked at.
          return event != nlohmann::json::parse_event_t::key || depth != 1 || key == "weight_map";
        });
    const auto& weight_map = index.at("weight_map");
    if (!weight_map.is_object()) return corrupt("the index is malformed: weight_map is no object");
    shard_of = weight_map.get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception& error) {
    return corrupt(std::string("the index is malformed: ") + error.what());
  }
  for (const auto& [tensor, shard] : shard_of) {
    // A shard lies beside its index: anything else is no file name.
    const bool is_name = !shard.empty() && shard != "." && shard != ".." && shard.find('/') == std::string::npos &&
                         shard.find('\0') == std::string::npos;
    if (!is_name)
      return corrupt(quoted_tensor(tensor) + " is said to be in shard \"" + shard + "\", which is no file name");
  }
  return shard_of;
}

/// Moves the tensors of a shard to those of the whole. A shard's keys, of which the index speaks, are the names of its
/// tensors or, where it is compressed, of its payloads.
Result<void> take_shard(const std::string& shard, TensorFile& part, std::map<std::string, std::string>& shard_of,
                        TensorFile& file) {
  std::set<std::string> keys;
  for (const TensorFile::RawTensor& tensor : part.raw) keys.insert(tensor.name);
  for (const TensorFile::StoredTensor& tensor : part.stored) keys.insert(tensor.payload_name);
  for (const std::string& key : keys) {
    const auto said = shard_of.find(key);
    if (said == shard_of.end() || said->second != shard)
      return in_context(shard, corrupt(quoted_tensor(key) + " is not in this shard by the index"));
    shard_of.erase(said);
  }
  for (const TensorFile::StoredTensor& tensor : part.stored) {
    const bool is_taken = std::any_of(file.stored.begin(), file.stored.end(),
                                      [&](const TensorFile::StoredTensor& other) { return other.name == tensor.name; });
    if (is_taken) return in_context(shard, corrupt(quoted_tensor(tensor.name) + " is in another shard, too"));
  }
  for (TensorFile::StoredTensor& tensor : part.stored) tensor.shard = shard;
  std::move(part.raw.begin(), part.raw.end(), std::back_inserter(file.raw));
  std::move(part.stored.begin(), part.stored.end(), std::back_inserter(file.stored));
  return {};
}

Result<void> open_index(const std::filesystem::path& path, TensorFile& file) {
  STILLBIT_TRY(const std::string text, io::read_text(path));
  STILLBIT_TRY(auto shard_of, parse_weight_map(text));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    TensorFile part;
    if (const auto opened = open_safetensors(path.parent_path() / shard, part); !opened.ok())
      return in_context(shard, opened.fault());
    if (part.is_compressed != file.is_compressed && shard != *shards.begin())
      return in_context(shard, corrupt("some shards are compressed, and some are not"));
    file.is_compressed = part.is_compressed;
    STILLBIT_CHECK(take_shard(shard, part, shard_of, file));
    file.metadata.insert(part.metadata.begin(), part.metadata.end());
    file.file_bytes += part.file_bytes;
    file.shards.push_back(shard);
    file.mappings.insert(file.mappings.end(), part.mappings.begin(), part.mappings.end());
  }
  if (!shard_of.empty())
    return corrupt(quoted_tensor(shard_of.begin()->first) + " is in the index but not in its shard");
  return {};
}

Result<void> open_any(const std::filesystem::path& path, TensorFile& file) {
  if (has_suffix(path, ".npy")) return open_npy(path, file);
  if (has_suffix(path, ".safetensors")) return open_safetensors(path, file);
  if (has_suffix(path, ".safetensors.index.json")) return open_index(path, file);
  return invalid("not a .npy, .safetensors or .safetensors.index.json file");
}

}  // namespace

Result<void> read_npy(Bytes bytes, const std::string& name, TensorFile& file) {
  STILLBIT_TRY(const format::NpyHeader header, format::parse_npy(bytes));
  Source source{bytes.subspan(header.data_offset, header.data_bytes), header.dtype, header.shape, false};
  const auto is_long = [](std::uint64_t size) { return size > 1; };
  if (header.fortran_order && std::count_if(header.shape.begin(), header.shape.end(), is_long) > 1 &&
      header.data_bytes > 0) {
    file.owned.push_back(to_c_order(source.data, source.shape, num_bytes(source.dtype)));
    source.data = file.owned.back();
  }
  file.raw.push_back({name, std::move(source)});
  return {};
}

Result<void> read_safetensors(Bytes bytes, const std::shared_ptr<const void>& mapping, TensorFile& file) {
  STILLBIT_TRY(format::SafetensorsHeader header, format::parse_safetensors(bytes));
  STILLBIT_TRY(auto manifest, format::find_manifest(header));
  if (manifest) return add_stored(header, std::move(*manifest), bytes, mapping, file);
  STILLBIT_CHECK(add_raw(header, bytes, file));
  file.metadata = std::move(header.metadata);
  return {};
}

bool has_suffix(const std::filesystem::path& path, std::string_view suffix) {
  const std::string text = path.filename().string();
  return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

Fault in_file(const std::filesystem::path& path, const Fault& fault) {
  return fault.code == ErrorCode::kIo ? fault : in_context(path.string(), fault);
}

std::string quoted_tensor(const std::string& name) {
  return "tensor \"" + name + "\"";
}

bool have_same_bytes(const Source& a, const Source& b) {
  for (std::uint64_t begin = 0; begin < a.data.size(); begin += kChecksumPieceBytes) {
    const std::uint64_t count = std::min<std::uint64_t>(kChecksumPieceBytes, a.data.size() - begin);
    const Bytes left = a.data.subspan(begin, count);
    const Bytes right = b.data.subspan(begin, count);
    if (!std::equal(left.begin(), left.end(), right.begin())) return false;
    if (a.is_mapped) io::release_pages(left);
    if (b.is_mapped) io::release_pages(right);
  }
  return true;
}

Result<Source> reinterpreted(Source source, std::optional<DType> as) {
  if (!as) return source;
  if (num_bytes(*as) != num_bytes(source.dtype)) {
    return invalid(std::string(name(source.dtype)) + " cannot be read as " + std::string(name(*as)) +
                   ": the widths differ");
  }
  source.dtype = *as;
  return source;
}

void require_compressed(const TensorFile& file) {
  if (file.is_compressed) return;
  throw Error(ErrorCode::kInvalidArgument,
              file.path.string() + ": not a compressed file: it holds no stillbit manifest");
}

void unwrap_in(const std::filesystem::path& path, const std::string& tensor, const Result<void>& result) {
  if (result.ok()) return;
  unwrap(Result<void>(in_context(path.string(), in_context(quoted_tensor(tensor), result.fault()))));
}

std::uint64_t TensorFile::raw_bytes() const {
  std::uint64_t sum = 0;
  for (const RawTensor& tensor : raw) sum += tensor.source.data.size();
  for (const StoredTensor& tensor : stored) sum += tensor.tensor->raw_bytes();
  return sum;
}

Result<TensorFile> open_tensor_file(const std::filesystem::path& path) {
  TensorFile file;
  file.path = path;
  if (const auto opened = open_any(path, file); !opened.ok()) return in_file(path, opened.fault());
  return file;
}

}  // namespace stillbit
