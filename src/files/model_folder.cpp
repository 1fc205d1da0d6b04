// The folder of a model: its safetensors files one by one, the texts that speak of them, and everything else as it is.

#include "files/model_folder.hpp"

#include "files/tensor_file.hpp"
#include "format/model_json.hpp"
#include "io/folder.hpp"
#include "io/mapped_file.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>

namespace stillbit {
namespace {

namespace fs = std::filesystem;

/// Paths from the folder.
struct ModelFiles {
  std::vector<fs::path> tensors;  ///< .safetensors
  std::vector<fs::path> indices;  ///< .safetensors.index.json
  std::vector<fs::path> configs;  ///< config.json beside a .safetensors file
  std::vector<fs::path> others;
};

ModelFiles files_of(const fs::path& folder) {
  const std::vector<fs::path> all = unwrap(io::files_in(folder));
  ModelFiles files;
  std::set<fs::path> with_tensors;
  for (const fs::path& path : all) {
    if (!has_suffix(path, ".safetensors")) continue;
    files.tensors.push_back(path);
    with_tensors.insert(path.parent_path());
  }
  for (const fs::path& path : all) {
    if (has_suffix(path, ".safetensors")) continue;
    const bool is_config = path.filename() == "config.json" && with_tensors.count(path.parent_path()) > 0;
    std::vector<fs::path>& kind = has_suffix(path, ".safetensors.index.json") ? files.indices
                                  : is_config                                 ? files.configs
                                                                              : files.others;
    kind.push_back(path);
  }
  if (files.tensors.empty()) throw Error(ErrorCode::kInvalidArgument, folder.string() + ": holds no .safetensors file");
  return files;
}

/// Opens every file, so that what is missing or malformed is found before the work.
void check_all(const fs::path& folder, const ModelFiles& files, bool are_compressed) {
  for (const std::vector<fs::path>* paths : {&files.tensors, &files.indices}) {
    for (const fs::path& path : *paths) {
      const TensorFile file = unwrap(open_tensor_file(folder / path));
      if (are_compressed) {
        require_compressed(file);
      } else if (file.is_compressed) {
        throw Error(ErrorCode::kInvalidArgument, file.path.string() + ": is compressed already");
      }
    }
  }
}

/// What transformers calls the dtype of the first tensor that a model can compute in.
std::optional<std::string> computing_dtype(const fs::path& folder, const ModelFiles& files, const fs::path& config) {
  for (const fs::path& path : files.tensors) {
    if (path.parent_path() != config.parent_path()) continue;
    for (const TensorInfo& tensor : inspect_file(folder / path).tensors) {
      if (tensor.dtype == DType::kBF16) return "bfloat16";
      if (tensor.dtype == DType::kF16) return "float16";
      if (tensor.dtype == DType::kF32) return "float32";
      if (tensor.dtype == DType::kF64) return "float64";
    }
  }
  return {};
}

/// The config of a folder in which the files are compressed, or of one in which they are not.
std::string new_config(const fs::path& input, const ModelFiles& files, const fs::path& path, bool to_compressed) {
  const std::string text = unwrap(io::read_text(input / path));
  return unwrap_in(input / path, to_compressed
                                     ? format::with_quantization_entry(text, computing_dtype(input, files, path))
                                     : format::without_quantization_entry(text));
}

/// The index of shards that were written, from that of the shards they were made of.
std::string new_index(const fs::path& index, const fs::path& written, bool to_compressed) {
  const std::string text = unwrap(io::read_text(index));
  std::map<std::string, std::string> shard_of;
  std::uint64_t total_bytes = 0;
  for (const std::string& shard : unwrap(open_tensor_file(index)).shards) {
    const TensorFile file = unwrap(open_tensor_file(written / shard));
    for (const TensorFile::RawTensor& tensor : file.raw) shard_of[tensor.name] = shard;
    for (const TensorFile::StoredTensor& tensor : file.stored) {
      if (shard_of.emplace(tensor.payload_name, shard).second) total_bytes += tensor.payload.size();
    }
  }
  return unwrap_in(index, to_compressed ? format::compressed_index(text, shard_of, total_bytes)
                                        : format::expanded_index(text, shard_of));
}

void make_folder_of(const fs::path& file) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) unwrap(Result<void>(io::io_fault(file.parent_path(), "create", error.value())));
}

/// Makes a new folder of an old one.
void convert(const fs::path& input, const fs::path& output, bool to_compressed,
             const std::function<void(const fs::path& from, const fs::path& to)>& convert_tensors) {
  if (io::lies_in(output, input))
    throw Error(ErrorCode::kInvalidArgument, output.string() + ": the output lies in the folder " + input.string());
  const ModelFiles files = files_of(input);
  check_all(input, files, !to_compressed);
  io::AtomicFolder folder = unwrap(io::AtomicFolder::create(output));
  for (const std::vector<fs::path>* paths : {&files.tensors, &files.indices, &files.configs, &files.others}) {
    for (const fs::path& path : *paths) make_folder_of(folder.path() / path);
  }
  // Configs first: what is wrong with them is found before the work. Indices speak of what is written.
  for (const fs::path& path : files.configs)
    unwrap(io::write_text(folder.path() / path, new_config(input, files, path, to_compressed)));
  for (const fs::path& path : files.tensors) convert_tensors(input / path, folder.path() / path);
  for (const fs::path& path : files.indices) {
    const fs::path target = folder.path() / path;
    unwrap(io::write_text(target, new_index(input / path, target.parent_path(), to_compressed)));
  }
  for (const fs::path& path : files.others) unwrap(io::copy_file(input / path, folder.path() / path));
  unwrap(folder.commit());
}

}  // namespace

FileInfo compress_folder(const fs::path& input, const fs::path& output, const CompressFileOptions& options) {
  convert(input, output, true, [&](const fs::path& from, const fs::path& to) { compress_file(from, to, options); });
  return inspect_folder(output);
}

void decompress_folder(const fs::path& input, const fs::path& output, const DecompressFileOptions& options) {
  convert(input, output, false, [&](const fs::path& from, const fs::path& to) { decompress_file(from, to, options); });
}

void verify_folder(const fs::path& folder, const std::optional<fs::path>& original,
                   const DecompressFileOptions& options) {
  const ModelFiles files = files_of(folder);
  if (original && !is_folder(*original))
    throw Error(ErrorCode::kInvalidArgument, original->string() + ": is no folder, as " + folder.string() + " is");
  check_all(folder, files, true);
  if (original) {
    const ModelFiles wanted = files_of(*original);
    for (const fs::path& path : wanted.tensors) {
      if (std::find(files.tensors.begin(), files.tensors.end(), path) == files.tensors.end())
        throw Error(ErrorCode::kMismatch, (folder / path).string() + ": is not there, but in the original");
    }
  }
  for (const fs::path& path : files.tensors) {
    std::optional<fs::path> against;
    if (original) against = *original / path;
    verify_file(folder / path, against, options);
  }
}

FileInfo inspect_folder(const fs::path& folder) {
  const ModelFiles files = files_of(folder);
  FileInfo all;
  for (const fs::path& path : files.tensors) {
    FileInfo one = inspect_file(folder / path);
    std::move(one.tensors.begin(), one.tensors.end(), std::back_inserter(all.tensors));
    all.raw_bytes += one.raw_bytes;
    all.stored_bytes += one.stored_bytes;
    all.file_bytes += one.file_bytes;
    all.metadata.insert(one.metadata.begin(), one.metadata.end());
  }
  return all;
}

std::uint64_t total_folder_bytes(const fs::path& folder) {
  std::uint64_t sum = 0;
  for (const fs::path& path : files_of(folder).tensors) sum += total_bytes(folder / path);
  return sum;
}

bool is_folder(const fs::path& path) noexcept {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

}  // namespace stillbit
