#pragma once

#include <stillbit/tensor.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace stillbit {

/// Names and tensors of a file, in its order.
using NamedTensors = std::vector<std::pair<std::string, CompressedTensor>>;

/// Writes tensors to a compressed safetensors file. The file appears whole or not at all: a crash at any moment leaves
/// the old file or the new one. Throws kIo when it cannot be written.
void save(const std::filesystem::path& path, const NamedTensors& tensors,
          const std::map<std::string, std::string>& metadata = {}, unsigned num_threads = 0);

/// Names and tensors that are owned elsewhere, and stay as they are while they are saved.
using NamedTensorPointers = std::vector<std::pair<std::string, const CompressedTensor*>>;

/// The same, of tensors that are owned elsewhere.
void save(const std::filesystem::path& path, const NamedTensorPointers& tensors,
          const std::map<std::string, std::string>& metadata = {}, unsigned num_threads = 0);

/// The same, to a file that is open for reading and writing, and empty: memory that processes share, for example. What
/// is there when this throws has no meaning.
void save(int descriptor, const NamedTensorPointers& tensors, unsigned num_threads = 0);

/// Writes any file so that it appears whole or not at all, as `save` does: reports of the command, for example.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

struct LoadOptions {
  /// Map the file and read pages when they are touched: gathering ten rows of a 100 GB file reads a few pages. The
  /// tensors are then read-only, the file must not change while they live, and only `verify` looks at checksums.
  /// Otherwise the file is copied into memory, its checksums are checked, and slotted tensors can be updated.
  bool mmap = true;
};

/// Opens a compressed file. Throws kIo, or kCorrupt when the file breaks the format.
[[nodiscard]] NamedTensors load(const std::filesystem::path& path, const LoadOptions& options = {});

/// Maps a compressed file that is open for reading; the descriptor is not needed after that.
[[nodiscard]] NamedTensors load(int descriptor);

/// A compressed file, mapped, or the index of several: for who wants many of its tensors expanded at once, as whoever
/// loads a model does.
class CompressedFile {
 public:
  struct Entry {
    std::string name;
    std::string file;                                ///< path of the one that the tensor is in: of an index, the shard
    std::shared_ptr<const CompressedTensor> tensor;  ///< tied tensors share one
  };

  /// Where an entry is to be expanded, by its position in `entries`; as of DecompressRequest.
  struct Output {
    std::size_t entry = 0;
    std::span<std::byte> out;
    bool is_new_memory = false;
  };

  /// Throws as `load` does.
  explicit CompressedFile(const std::filesystem::path& path);

  /// In the order of the file, or of the shards' names.
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

  /// Expands entries, any number of them at once; compares checksums if `verify`. Throws as `decompress` of many
  /// tensors does, naming file and tensor, and kOutOfRange where there is no such entry.
  void decompress(std::span<const Output> outputs, bool verify = true, unsigned num_threads = 0) const;

 private:
  std::vector<Entry> entries_;
};

/// What is in a file: compressed, or an ordinary .npy, .safetensors or .safetensors.index.json.
struct FileInfo {
  std::vector<TensorInfo> tensors;
  std::uint64_t raw_bytes = 0;
  std::uint64_t stored_bytes = 0;  ///< of the tensors; what tied tensors share is counted once
  std::uint64_t file_bytes = 0;    ///< of the file or files on disk

  /// What the file's writer noted in it; nothing in .npy files.
  std::map<std::string, std::string> metadata;

  [[nodiscard]] double ratio() const noexcept {
    return stored_bytes == 0 ? 1.0 : static_cast<double>(raw_bytes) / static_cast<double>(stored_bytes);
  }
};

/// `path` may also be the folder of a model: all of its .safetensors files then.
[[nodiscard]] FileInfo inspect_file(const std::filesystem::path& path);

/// Hands every tensor of an ordinary .npy, .safetensors or .safetensors.index.json file to `visit`, in the file's
/// order. Nothing is copied (but for .npy files in Fortran order, which are transposed): a view lies in the mapped
/// file, and is valid until `visit` returns. What `visit` throws ends the visits and comes out. Throws kInvalidArgument
/// when the file is compressed: `load` opens those.
void for_each_tensor(const std::filesystem::path& path,
                     const std::function<void(const std::string& name, const TensorView& tensor)>& visit);

struct CompressFileOptions {
  /// For each tensor. Files are packed unless asked otherwise.
  CompressOptions tensor{.packing = Packing::kPacked};

  /// Reads the elements as this dtype of the same width: u16 that holds bf16, u8 that holds fp8.
  std::optional<DType> as = {};
};

/// Compresses a .npy, .safetensors or .safetensors.index.json file into one .safetensors file, in memory that does not
/// grow with the file (but for .npy files in Fortran order, which are transposed). Every tensor gets its own codec;
/// equal tensors are stored once. (Rows that repeat are looked for where that takes less than 512 MiB.) The bytes
/// reported to `options.tensor.progress` add up to at most three times `total_bytes`. The error names the file and the
/// tensor.
///
/// If `input` is the folder of a model, `output` becomes one: every .safetensors file in it is compressed, the indices
/// of shards say what is in them now, each config.json beside one says how the weights are stored (docs/format.md), and
/// all other files are copied. The folder appears whole or not at all; it must not be there before, or be empty.
FileInfo compress_file(const std::filesystem::path& input, const std::filesystem::path& output,
                       const CompressFileOptions& options = {});

/// A tensor in memory, with its name in the file that it goes to.
struct NamedView {
  std::string name;
  TensorView tensor;

  /// Whether it lies in a file that is mapped read-only, or shared: its pages are then given back to the system once
  /// they were looked at, so that a table larger than memory can be compressed.
  bool is_mapped = false;
};

/// The same, of tensors that lie in memory or in files that the caller has mapped.
FileInfo compress_to_file(const std::vector<NamedView>& tensors, const std::filesystem::path& output,
                          const CompressOptions& options, const std::map<std::string, std::string>& metadata = {});

/// Bytes of all tensors in a file, for progress bars.
[[nodiscard]] std::uint64_t total_bytes(const std::filesystem::path& path);

struct DecompressFileOptions {
  unsigned num_threads = 0;
  Progress progress;  ///< adds up to `total_bytes`
};

/// Expands a compressed file into .safetensors, or .npy when it holds one tensor. Checks every checksum on the way, and
/// leaves no output when one differs. Types that .npy lacks (bf16, fp8) become unsigned integers there. The folder that
/// `compress_file` made of a model becomes the model's again.
void decompress_file(const std::filesystem::path& input, const std::filesystem::path& output,
                     const DecompressFileOptions& options = {});

/// Checks every checksum of a compressed file. With `original`, also that names, shapes, dtypes and all bits are those
/// of that file; there, unsigned integers stand for any dtype of their width, since that is how .npy files hold bf16
/// and fp8. Throws kCorrupt or kMismatch naming the tensor and, where there is one, the first different element. Both
/// may be folders of models.
void verify_file(const std::filesystem::path& path, const std::optional<std::filesystem::path>& original = {},
                 const DecompressFileOptions& options = {});

}  // namespace stillbit
