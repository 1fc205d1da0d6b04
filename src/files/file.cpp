#include <stillbit/file.hpp>

#include "api/compressed_tensor.hpp"
#include "files/file_writer.hpp"
#include "files/model_folder.hpp"
#include "files/tensor_file.hpp"
#include "cpu/parallel.hpp"
#include "io/atomic_file.hpp"

#include <unordered_set>

namespace stillbit {
namespace {

TensorInfo info_of(const TensorFile::StoredTensor& stored) {
  TensorInfo info = stored.tensor->info();
  info.name = stored.name;
  return info;
}

FileInfo info_of(const TensorFile& file) {
  FileInfo info;
  info.file_bytes = file.file_bytes;
  info.metadata = file.metadata;
  for (const auto& [name, source] : file.raw) {
    info.tensors.push_back(
        {name, source.dtype, source.shape, {}, {}, source.data.size(), source.data.size(), 0, 1.0, {}});
    info.stored_bytes += source.data.size();
  }
  std::unordered_set<std::string> counted;
  for (const TensorFile::StoredTensor& stored : file.stored) {
    info.tensors.push_back(info_of(stored));
    if (counted.insert(stored.payload_name).second) info.stored_bytes += stored.payload.size();
  }
  info.raw_bytes = file.raw_bytes();
  return info;
}

Result<std::uint64_t> checksum_of(const CompressedTensor::Impl& impl, unsigned num_threads) {
  return with_decoder(impl, [&](const Decoder& decoder) {
    return decoder.expand_in_pieces(num_threads, [](std::uint64_t, Bytes) { return Result<void>(); });
  });
}

std::filesystem::path descriptor_name(int descriptor) {
  return "file descriptor " + std::to_string(descriptor);
}

}  // namespace

FileInfo inspect_file(const std::filesystem::path& path) {
  if (is_folder(path)) return inspect_folder(path);
  return info_of(unwrap(open_tensor_file(path)));
}

void for_each_tensor(const std::filesystem::path& path,
                     const std::function<void(const std::string& name, const TensorView& tensor)>& visit) {
  const TensorFile file = unwrap(open_tensor_file(path));
  if (file.is_compressed) throw Error(ErrorCode::kInvalidArgument, path.string() + ": is compressed");
  for (const auto& mapping : file.mappings) io::advise(mapping->bytes(), io::Access::kSequential);
  for (const auto& [name, source] : file.raw) {
    visit(name, {source.data.data(), source.dtype, source.shape});
    if (source.is_mapped) io::release_pages(source.data);
  }
}

std::uint64_t total_bytes(const std::filesystem::path& path) {
  if (is_folder(path)) return total_folder_bytes(path);
  return unwrap(open_tensor_file(path)).raw_bytes();
}

void save(const std::filesystem::path& path, const NamedTensors& tensors,
          const std::map<std::string, std::string>& metadata, unsigned num_threads) {
  NamedTensorPointers pointers;
  for (const auto& [name, tensor] : tensors) pointers.emplace_back(name, &tensor);
  save(path, pointers, metadata, num_threads);
}

namespace {

/// `path` is what messages call the file; `create` makes its writer once it is known what goes into it.
void save_with(const std::filesystem::path& path, const NamedTensorPointers& tensors, unsigned num_threads,
               const std::function<Result<FileWriter>(const std::vector<FileWriter::Tensor>&)>& create) {
  const unsigned threads = cpu::resolve_threads(num_threads);
  std::vector<FileWriter::Tensor> entries;
  std::unordered_set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (!names.insert(name).second) throw Error(ErrorCode::kInvalidArgument, quoted_tensor(name) + " is given twice");
    const CompressedTensor::Impl& impl = tensor->impl();
    entries.push_back({name, FileWriter::payload_name(name), impl.header, impl.prices});
    if (!impl.is_unchanged) {
      entries.back().header.data_checksum = unwrap(checksum_of(impl, threads));
    }
  }
  FileWriter writer = unwrap_in(path, create(entries));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const format::Payload sections = tensors[i].second->impl().sections();
    unwrap_in(path, tensors[i].first, writer.write(i, threads, [&](SectionSink& sink) -> Result<void> {
      STILLBIT_CHECK(sink.write(format::Section::kPlan, 0, sections.plan));
      STILLBIT_CHECK(sink.write(format::Section::kMap, 0, sections.map));
      STILLBIT_CHECK(sink.write(format::Section::kIndex, 0, sections.index));
      STILLBIT_CHECK(sink.write(format::Section::kRows, 0, sections.rows));
      return sink.write(format::Section::kOverflow, 0, sections.overflow);
    }));
  }
  unwrap(writer.commit());
}

}  // namespace

void save(const std::filesystem::path& path, const NamedTensorPointers& tensors,
          const std::map<std::string, std::string>& metadata, unsigned num_threads) {
  save_with(path, tensors, num_threads, [&](const std::vector<FileWriter::Tensor>& entries) {
    return FileWriter::create(path, entries, metadata);
  });
}

void save(int descriptor, const NamedTensorPointers& tensors, unsigned num_threads) {
  save_with(descriptor_name(descriptor), tensors, num_threads,
            [&](const std::vector<FileWriter::Tensor>& entries) -> Result<FileWriter> {
              STILLBIT_TRY(io::AtomicFile file, io::AtomicFile::adopt(descriptor));
              return FileWriter::create(std::move(file), entries, {});
            });
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  io::AtomicFile file = unwrap(io::AtomicFile::create(path));
  unwrap(file.set_size(bytes.size()));
  unwrap(file.write(0, bytes));
  unwrap(file.commit());
}

NamedTensors load(int descriptor) {
  TensorFile file;
  file.path = descriptor_name(descriptor);
  const auto mapped = std::make_shared<io::MappedFile>(unwrap(io::MappedFile::map(descriptor, file.path)));
  io::advise(mapped->bytes(), io::Access::kRandom);
  unwrap_in(file.path, read_safetensors(mapped->bytes(), mapped, file));
  require_compressed(file);
  NamedTensors tensors;
  for (const TensorFile::StoredTensor& stored : file.stored)
    tensors.emplace_back(stored.name, share_mapped(*stored.tensor));
  return tensors;
}

NamedTensors load(const std::filesystem::path& path, const LoadOptions& options) {
  const TensorFile file = unwrap(open_tensor_file(path));
  require_compressed(file);
  if (!options.mmap) {
    for (const auto& mapping : file.mappings) io::advise(mapping->bytes(), io::Access::kSequential);
  }
  NamedTensors tensors;
  for (const TensorFile::StoredTensor& stored : file.stored) {
    if (options.mmap) {
      tensors.emplace_back(stored.name, share_mapped(*stored.tensor));
      continue;
    }
    auto tensor = open_copied(stored.payload, 0);
    if (!tensor.ok()) unwrap_in(path, stored.name, Result<void>(tensor.fault()));
    tensors.emplace_back(stored.name, std::move(tensor).value());
  }
  return tensors;
}

}  // namespace stillbit
