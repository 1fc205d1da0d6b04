#include "files/file_writer.hpp"

#include "api/registry.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <numeric>

namespace stillbit {
namespace {

/// The checksum of what was written, read back from the system's cache.
Result<std::uint64_t> written_checksum(const io::AtomicFile& file, std::uint64_t offset, std::uint64_t size,
                                       unsigned num_threads) {
  Checksum checksum;
  STILLBIT_CHECK(cpu::parallel_for(ceil_div(size, kChecksumPieceBytes), num_threads,
                                   [&](std::uint64_t i, unsigned) -> Result<void> {
                                     const std::uint64_t begin = i * kChecksumPieceBytes;
                                     std::vector<std::byte> piece(std::min(kChecksumPieceBytes, size - begin));
                                     STILLBIT_CHECK(file.read(offset + begin, piece));
                                     checksum.add(i, cpu::digest(piece));
                                     return {};
                                   }));
  return checksum.value();
}

}  // namespace

Result<void> FileSink::write(format::Section section, std::uint64_t offset, Bytes bytes) {
  return file_.write(payload_offset_ + layout_.offset[static_cast<std::size_t>(section)] + offset, bytes);
}

Result<FileWriter::Layout> FileWriter::lay_out(const std::vector<Tensor>& tensors,
                                               const std::map<std::string, std::string>& metadata) {
  // Payloads lie in the order of falling alignment, so that each starts aligned where the one before it ends.
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return format::alignment(tensors[a].header.packing) > format::alignment(tensors[b].header.packing);
  });

  Layout result;
  format::Manifest manifest{metadata, {}};
  for (const std::size_t i : order) {
    const std::uint64_t size = layout_of(tensors[i].header).payload_bytes;
    const std::uint64_t begin = result.data_bytes;
    if (!result.begin_of.emplace(tensors[i].payload, begin).second) continue;
    result.header.entries.push_back({tensors[i].payload, "U8", {size}, begin, begin + size});
    result.data_bytes += size;
  }
  for (const Tensor& tensor : tensors) {
    manifest.tensors.push_back({tensor.name,
                                tensor.payload,
                                std::string(name(tensor.header.dtype)),
                                tensor.header.shape,
                                std::string(name(tensor.header.codec)),
                                std::string(name(tensor.header.packing)),
                                {}});
    for (const auto& [codec, stored_bytes] : tensor.prices)
      manifest.tensors.back().prices[std::string(name(codec))] = stored_bytes;
  }
  STILLBIT_CHECK(format::attach(manifest, result.header));
  return result;
}

Result<FileWriter> FileWriter::create(const std::filesystem::path& path, const std::vector<Tensor>& tensors,
                                      const std::map<std::string, std::string>& metadata) {
  STILLBIT_TRY(io::AtomicFile file, io::AtomicFile::create(path));
  return create(std::move(file), tensors, metadata);
}

Result<FileWriter> FileWriter::create(io::AtomicFile file, const std::vector<Tensor>& tensors,
                                      const std::map<std::string, std::string>& metadata) {
  STILLBIT_TRY(const Layout layout, lay_out(tensors, metadata));
  STILLBIT_TRY(const std::string text, format::serialize_safetensors(layout.header, kDataAlignment));
  std::vector<std::uint64_t> offsets;
  offsets.reserve(tensors.size());
  for (const Tensor& tensor : tensors) offsets.push_back(text.size() + layout.begin_of.at(tensor.payload));
  STILLBIT_CHECK(file.set_size(text.size() + layout.data_bytes));
  STILLBIT_CHECK(file.write(0, std::as_bytes(std::span(text))));
  return FileWriter(std::move(file), tensors, std::move(offsets));
}

Result<void> FileWriter::write(std::size_t i, unsigned num_threads,
                               const std::function<Result<void>(SectionSink&)>& write_sections) {
  const format::PayloadHeader& header = tensors_[i].header;
  FileSink sink(file_, layout_of(header), offsets_[i]);
  STILLBIT_CHECK(write_sections(sink));
  return finish_payload(file_, offsets_[i], header, num_threads);
}

Result<void> finish_payload(io::AtomicFile& file, std::uint64_t payload_offset, format::PayloadHeader header,
                            unsigned num_threads) {
  const format::PayloadLayout layout = layout_of(header);
  const std::uint64_t offset = payload_offset;
  // The bytes between sections are zeros, also where the file system could not reserve the file.
  constexpr std::byte kZeros[FileWriter::kDataAlignment]{};
  for (std::size_t section = 0; section < format::kNumSections; ++section) {
    const std::uint64_t begin = layout.offset[section] + layout.size[section];
    const std::uint64_t next = section + 1 < format::kNumSections ? layout.offset[section + 1] : layout.payload_bytes;
    STILLBIT_CHECK(file.write(offset + begin, Bytes(kZeros).first(next - begin)));
  }
  STILLBIT_CHECK(file.write(offset, format::serialize(header)));
  const std::uint64_t covered = layout.payload_bytes - format::kChecksummedFrom;
  STILLBIT_TRY(header.payload_checksum,
               written_checksum(file, offset + format::kChecksummedFrom, covered, num_threads));
  return file.write(offset, Bytes(format::serialize(header)).first(format::kChecksummedFrom));
}

}  // namespace stillbit
