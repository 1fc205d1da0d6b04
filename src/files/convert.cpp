// Whole files, tensor by tensor and piece by piece: never a whole tensor in memory.

#include <stillbit/file.hpp>

#include "api/compressed_tensor.hpp"
#include "api/encoder.hpp"
#include "files/file_writer.hpp"
#include "files/model_folder.hpp"
#include "files/tensor_file.hpp"
#include "cpu/parallel.hpp"
#include "format/npy.hpp"
#include "format/safetensors.hpp"
#include "io/atomic_file.hpp"
#include "io/mapped_file.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace stillbit {
namespace {

/// The first tensor that is equal to one, so that equal tensors are stored once. Equal checksums are not enough.
class TiedTensors {
 public:
  /// The number of an earlier tensor with the same dtype, shape and bytes; else `i`, from now on an earlier one.
  std::size_t find_or_add(std::size_t i, const Encoder& encoder) {
    const Source& source = encoder.source();
    auto [begin, end] = seen_.equal_range(encoder.header().data_checksum);
    for (; begin != end; ++begin) {
      const Source& other = begin->second.second;
      if (source.dtype == other.dtype && source.shape == other.shape && have_same_bytes(source, other))
        return begin->second.first;
    }
    seen_.emplace(encoder.header().data_checksum, std::pair(i, source));
    return i;
  }

 private:
  std::unordered_multimap<std::uint64_t, std::pair<std::size_t, Source>> seen_;
};

/// Checks both checksums of a stored tensor and hands its pieces on.
Result<void> expand_checked(const TensorFile::StoredTensor& stored, const DecompressFileOptions& options,
                            const Decoder::Consume& consume) {
  const CompressedTensor::Impl& impl = stored.tensor->impl();
  STILLBIT_CHECK(check_payload(stored.payload, impl.header.payload_checksum, options.num_threads));
  return with_decoder(impl, [&](const Decoder& decoder) {
    return decoder.expand_verified(options.num_threads, [&](std::uint64_t offset, Bytes piece) -> Result<void> {
      STILLBIT_CHECK(consume(offset, piece));
      if (options.progress) options.progress(piece.size());
      return {};
    });
  });
}

/// Where everything goes in an uncompressed file.
struct RawLayout {
  std::string header;
  std::vector<std::uint64_t> offsets;  ///< of each tensor in the file
  std::uint64_t file_bytes = 0;
};

Result<RawLayout> raw_layout(const TensorFile& file, const std::filesystem::path& output) {
  RawLayout layout;
  if (has_suffix(output, ".npy")) {
    if (file.stored.size() != 1) {
      return invalid("a .npy file holds one tensor, this file has " + std::to_string(file.stored.size()) +
                     ": decompress to .safetensors");
    }
    const CompressedTensor& tensor = *file.stored[0].tensor;
    layout.header = format::serialize_npy(tensor.dtype(), tensor.shape());
    layout.offsets = {layout.header.size()};
    layout.file_bytes = layout.header.size() + tensor.raw_bytes();
    return layout;
  }
  if (!has_suffix(output, ".safetensors")) return invalid("the output must be a .npy or .safetensors file");
  format::SafetensorsHeader header;
  header.metadata = file.metadata;
  std::uint64_t end = 0;
  for (const TensorFile::StoredTensor& stored : file.stored) {
    const CompressedTensor& tensor = *stored.tensor;
    header.entries.push_back(
        {stored.name, std::string(name(tensor.dtype())), tensor.shape(), end, end + tensor.raw_bytes()});
    layout.offsets.push_back(end);
    end += tensor.raw_bytes();
  }
  STILLBIT_TRY(layout.header, format::serialize_safetensors(header, 8));
  for (std::uint64_t& offset : layout.offsets) offset += layout.header.size();
  layout.file_bytes = layout.header.size() + end;
  return layout;
}

/// The raw tensor that a stored one is to be held against. Between two files of one tensor names do not matter: a .npy
/// file has none.
Result<const Source*> original_of(const TensorFile::StoredTensor& stored, const TensorFile& file,
                                  const TensorFile& original) {
  if (file.stored.size() == 1 && original.raw.size() == 1) return &original.raw[0].source;
  for (const auto& [name, source] : original.raw) {
    if (name == stored.name) return &source;
  }
  return Fault{ErrorCode::kMismatch, "is not in " + original.path.string()};
}

bool is_unsigned(DType dtype) {
  return dtype == DType::kU8 || dtype == DType::kU16 || dtype == DType::kU32 || dtype == DType::kU64;
}

Result<void> check_type(const CompressedTensor& tensor, const Source& original) {
  // Unsigned integers may hold anything: they are how .npy files hold bf16 and fp8, and what --as reads as other types.
  const bool same_dtype = tensor.dtype() == original.dtype ||
                          (is_unsigned(original.dtype) && num_bytes(tensor.dtype()) == num_bytes(original.dtype));
  if (same_dtype && tensor.shape() == original.shape) return {};
  return Fault{ErrorCode::kMismatch, "is " + std::string(name(tensor.dtype())) + " " + to_string(tensor.shape()) +
                                         ", the original is " + std::string(name(original.dtype)) + " " +
                                         to_string(original.shape)};
}

Result<void> check_equal(std::uint64_t offset, Bytes piece, const Source& original) {
  const Bytes expected = original.data.subspan(offset, piece.size());
  const auto [at, other] = std::mismatch(piece.begin(), piece.end(), expected.begin());
  if (at != piece.end()) {
    const std::uint64_t byte = offset + static_cast<std::uint64_t>(at - piece.begin());
    return Fault{ErrorCode::kMismatch,
                 "differs from the original in element " + std::to_string(byte / num_bytes(original.dtype))};
  }
  return {};
}

/// Opens a file of which every byte will be read.
TensorFile open_whole(const std::filesystem::path& path) {
  TensorFile file = unwrap(open_tensor_file(path));
  for (const auto& mapping : file.mappings) io::advise(mapping->bytes(), io::Access::kSequential);
  return file;
}

}  // namespace

namespace {

/// Compresses raw tensors to a file. `input` is what messages call where they come from.
FileInfo compress_all(const std::vector<TensorFile::RawTensor>& raw_tensors,
                      const std::map<std::string, std::string>& metadata, const std::filesystem::path& input,
                      const std::filesystem::path& output, const CompressFileOptions& options) {
  const unsigned num_threads = cpu::resolve_threads(options.tensor.num_threads);
  std::vector<Encoder> encoders;
  std::vector<FileWriter::Tensor> tensors;
  std::vector<std::size_t> first_equal;
  TiedTensors tied;
  for (const TensorFile::RawTensor& raw : raw_tensors) {
    const auto prepare = [&]() -> Result<void> {
      STILLBIT_TRY(const Source source, reinterpreted(raw.source, options.as));
      CompressOptions tensor_options = options.tensor;
      tensor_options.row_dims =
          static_cast<unsigned>(std::min<std::size_t>(tensor_options.row_dims, source.shape.size()));
      STILLBIT_TRY(Encoder encoder, Encoder::prepare(source, tensor_options));
      const std::size_t first = tied.find_or_add(encoders.size(), encoder);
      first_equal.push_back(first);
      tensors.push_back({raw.name,
                         first == encoders.size() ? FileWriter::payload_name(raw.name) : tensors[first].payload,
                         encoder.header(), encoder.prices()});
      encoder.set_codec_aside();
      encoders.push_back(std::move(encoder));
      return {};
    };
    unwrap_in(input, raw.name, prepare());
  }

  FileWriter writer = unwrap_in(input, FileWriter::create(output, tensors, metadata));
  for (std::size_t i = 0; i < encoders.size(); ++i) {
    if (first_equal[i] != i) continue;
    const auto written = writer.write(i, num_threads, [&](SectionSink& sink) { return encoders[i].write(sink); });
    unwrap_in(output, tensors[i].name, written);
    encoders[i].set_codec_aside();
  }
  unwrap(writer.commit());
  return inspect_file(output);
}

}  // namespace

FileInfo compress_file(const std::filesystem::path& input, const std::filesystem::path& output,
                       const CompressFileOptions& options) {
  if (is_folder(input)) return compress_folder(input, output, options);
  const TensorFile file = open_whole(input);
  if (file.is_compressed) throw Error(ErrorCode::kInvalidArgument, input.string() + ": is compressed already");
  return compress_all(file.raw, file.metadata, input, output, options);
}

FileInfo compress_to_file(const std::vector<NamedView>& tensors, const std::filesystem::path& output,
                          const CompressOptions& options, const std::map<std::string, std::string>& metadata) {
  std::vector<TensorFile::RawTensor> raw;
  std::unordered_set<std::string> names;
  for (const auto& [name, tensor, is_mapped] : tensors) {
    if (!names.insert(name).second) throw Error(ErrorCode::kInvalidArgument, quoted_tensor(name) + " is given twice");
    const RowGeometry geometry = unwrap_in(output, row_geometry(tensor.dtype, tensor.shape, 0));
    const Bytes data(static_cast<const std::byte*>(tensor.data), geometry.num_bytes());
    raw.push_back({name, {data, tensor.dtype, tensor.shape, is_mapped}});
  }
  return compress_all(raw, metadata, output, output, {options, {}});
}

void decompress_file(const std::filesystem::path& input, const std::filesystem::path& output,
                     const DecompressFileOptions& options) {
  if (is_folder(input)) return decompress_folder(input, output, options);
  const TensorFile file = open_whole(input);
  require_compressed(file);
  const RawLayout layout = unwrap_in(input, raw_layout(file, output));
  io::AtomicFile writer = unwrap(io::AtomicFile::create(output));
  unwrap(writer.set_size(layout.file_bytes));
  unwrap(writer.write(0, std::as_bytes(std::span(layout.header))));
  for (std::size_t i = 0; i < file.stored.size(); ++i) {
    unwrap_in(input, file.stored[i].name,
              expand_checked(file.stored[i], options, [&](std::uint64_t offset, Bytes piece) {
                return writer.write(layout.offsets[i] + offset, piece);
              }));
  }
  unwrap(writer.commit());
}

void verify_file(const std::filesystem::path& path, const std::optional<std::filesystem::path>& original_path,
                 const DecompressFileOptions& options) {
  if (is_folder(path)) return verify_folder(path, original_path, options);
  const TensorFile file = open_whole(path);
  require_compressed(file);
  std::optional<TensorFile> original;
  if (original_path) {
    original = open_whole(*original_path);
    if (original->is_compressed)
      throw Error(ErrorCode::kInvalidArgument, original_path->string() + ": the original is compressed, too");
    if (original->raw.size() != file.stored.size()) {
      throw Error(ErrorCode::kMismatch, path.string() + ": has " + std::to_string(file.stored.size()) +
                                            " tensors, the original " + std::to_string(original->raw.size()));
    }
  }
  for (const TensorFile::StoredTensor& stored : file.stored) {
    const auto check = [&]() -> Result<void> {
      const Source* source = nullptr;
      if (original) {
        STILLBIT_TRY(source, original_of(stored, file, *original));
        STILLBIT_CHECK(check_type(*stored.tensor, *source));
      }
      return expand_checked(stored, options, [&](std::uint64_t offset, Bytes piece) {
        return source == nullptr ? Result<void>() : check_equal(offset, piece, *source);
      });
    };
    unwrap_in(path, stored.name, check());
  }
}

}  // namespace stillbit
