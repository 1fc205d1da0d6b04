#include "api/decompress.hpp"
#include "files/tensor_file.hpp"

#include <stillbit/file.hpp>

namespace stillbit {

CompressedFile::CompressedFile(const std::filesystem::path& path) {
  TensorFile file = unwrap(open_tensor_file(path));
  require_compressed(file);
  entries_.reserve(file.stored.size());
  for (TensorFile::StoredTensor& stored : file.stored) {
    entries_.push_back({std::move(stored.name),
                        stored.shard.empty() ? path.string() : (path.parent_path() / stored.shard).string(),
                        std::move(stored.tensor)});
  }
}

void CompressedFile::decompress(std::span<const Output> outputs, bool verify, unsigned num_threads) const {
  std::vector<DecompressRequest> requests;
  requests.reserve(outputs.size());
  for (const Output& output : outputs) {
    if (output.entry >= entries_.size()) {
      throw Error(ErrorCode::kOutOfRange, "entry " + std::to_string(output.entry) + " is out of range: the file has " +
                                              std::to_string(entries_.size()));
    }
    requests.push_back({entries_[output.entry].tensor.get(), output.out, output.is_new_memory});
  }
  unwrap(decompress_all(requests, num_threads, verify, [&](std::size_t request, const Fault& fault) {
    const Entry& entry = entries_[outputs[request].entry];
    return in_context(entry.file, in_context(quoted_tensor(entry.name), fault));
  }));
}

}  // namespace stillbit
