#pragma once

#include "api/encoder.hpp"
#include "format/manifest.hpp"
#include "io/mapped_file.hpp"

#include <stillbit/file.hpp>

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stillbit {

/// A file of tensors, compressed or not, mapped and validated as far as its headers go.
struct TensorFile {
  struct RawTensor {
    std::string name;
    Source source;
  };
  struct StoredTensor {
    std::string name;
    std::string payload_name;
    Bytes payload;
    std::shared_ptr<CompressedTensor> tensor;  ///< tied tensors share one
    std::string shard = {};                    ///< of an index: the file beside it
  };

  std::filesystem::path path;
  bool is_compressed = false;
  std::vector<RawTensor> raw;        ///< of an ordinary file
  std::vector<StoredTensor> stored;  ///< of a compressed one
  std::map<std::string, std::string> metadata;
  std::uint64_t file_bytes = 0;
  std::vector<std::string> shards;  ///< of an index: files beside it

  /// The files, for as long as anyone looks at their bytes.
  std::vector<std::shared_ptr<io::MappedFile>> mappings;

  /// What of a file is no view into its mapping: arrays that had to be transposed.
  std::deque<std::vector<std::byte>> owned;

  /// Bytes of all tensors.
  [[nodiscard]] std::uint64_t raw_bytes() const;
};

/// Reads the headers of a safetensors file that lies in memory; `mapping` is what keeps it there when it is mapped.
Result<void> read_safetensors(Bytes bytes, const std::shared_ptr<const void>& mapping, TensorFile& file);

/// Reads the header of a .npy file that lies in memory.
Result<void> read_npy(Bytes bytes, const std::string& name, TensorFile& file);

/// Opens a .npy, .safetensors or .safetensors.index.json file. Faults name the file and, where there is one, the
/// tensor.
Result<TensorFile> open_tensor_file(const std::filesystem::path& path);

/// The same bytes as elements of another dtype of the same width, where one is asked for.
Result<Source> reinterpreted(Source source, std::optional<DType> as);

/// Compares tensors of the same size, without keeping what is mapped in memory.
bool have_same_bytes(const Source& a, const Source& b);

/// Throws unless the file is compressed.
void require_compressed(const TensorFile& file);

/// Whether a file's name ends so, as ".safetensors".
bool has_suffix(const std::filesystem::path& path, std::string_view suffix);

/// Puts the file before a fault; the system's own messages name it already.
Fault in_file(const std::filesystem::path& path, const Fault& fault);

/// The value, or the fault, with the file before it, as an exception.
template <class T>
T unwrap_in(const std::filesystem::path& path, Result<T> result) {
  if (!result.ok()) unwrap(Result<void>(in_file(path, result.fault())));
  return std::move(result).value();
}

inline void unwrap_in(const std::filesystem::path& path, const Result<void>& result) {
  if (!result.ok()) unwrap(Result<void>(in_file(path, result.fault())));
}

/// Throws a fault that is about a tensor of a file: 'file: tensor "name": what'.
void unwrap_in(const std::filesystem::path& path, const std::string& tensor, const Result<void>& result);

/// 'tensor "name"', for messages.
std::string quoted_tensor(const std::string& name);

}  // namespace stillbit
