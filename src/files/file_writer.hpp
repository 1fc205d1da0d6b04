#pragma once

#include "api/encoder.hpp"
#include "format/manifest.hpp"
#include "io/atomic_file.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace stillbit {

/// A payload's sections in a file, at their places.
class FileSink final : public SectionSink {
 public:
  FileSink(io::AtomicFile& file, const format::PayloadLayout& layout, std::uint64_t payload_offset)
      : file_(file), layout_(layout), payload_offset_(payload_offset) {}

  Result<void> write(format::Section section, std::uint64_t offset, Bytes bytes) override;

 private:
  io::AtomicFile& file_;
  format::PayloadLayout layout_;
  std::uint64_t payload_offset_;
};

/// Writes what a payload has besides its sections, which are in the file: the bytes between them, and the header with
/// the checksum.
Result<void> finish_payload(io::AtomicFile& file, std::uint64_t payload_offset, format::PayloadHeader header,
                            unsigned num_threads);

/// Lays payloads out in a compressed file and writes them one by one, each at its place.
class FileWriter {
 public:
  /// A tensor of the file. Tied tensors name the payload of the first of them.
  struct Tensor {
    std::string name;
    std::string payload;
    format::PayloadHeader header;  ///< final but for payload_checksum
    std::vector<CodecPrice> prices;
  };

  /// The payload's key of a tensor that is tied to no other.
  static std::string payload_name(const std::string& name) { return name + std::string(format::kPayloadSuffix); }

  /// A file's header, and where in the data each payload begins.
  struct Layout {
    format::SafetensorsHeader header;
    std::map<std::string, std::uint64_t> begin_of;
    std::uint64_t data_bytes = 0;
  };
  static Result<Layout> lay_out(const std::vector<Tensor>& tensors, const std::map<std::string, std::string>& metadata);

  /// Where the data starts, and the coarsest alignment of a payload in it.
  static constexpr std::uint64_t kDataAlignment = 128;

  /// Reserves the whole file. `tensors` are in the order of the source.
  static Result<FileWriter> create(const std::filesystem::path& path, const std::vector<Tensor>& tensors,
                                   const std::map<std::string, std::string>& metadata);
  static Result<FileWriter> create(io::AtomicFile file, const std::vector<Tensor>& tensors,
                                   const std::map<std::string, std::string>& metadata);

  /// Writes the payload of `tensors[i]`: `write_sections` fills all sections but the header.
  Result<void> write(std::size_t i, unsigned num_threads,
                     const std::function<Result<void>(SectionSink&)>& write_sections);

  /// Gives the file its name once all payloads are written.
  Result<void> commit() { return file_.commit(); }

 private:
  FileWriter(io::AtomicFile file, const std::vector<Tensor>& tensors, std::vector<std::uint64_t> offsets)
      : file_(std::move(file)), tensors_(tensors), offsets_(std::move(offsets)) {}

  io::AtomicFile file_;
  const std::vector<Tensor>& tensors_;
  std::vector<std::uint64_t> offsets_;  ///< of each tensor's payload in the file
};

}  // namespace stillbit
