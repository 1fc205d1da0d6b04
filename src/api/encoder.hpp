#pragma once

#include "codecs/codec.hpp"
#include "format/payload.hpp"

#include <stillbit/options.hpp>

#include <memory>
#include <vector>

namespace stillbit {

/// A raw tensor on its way into a payload.
struct Source {
  Bytes data;
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;

  /// Whether `data` is a mapped file, whose pages are given back once they were looked at.
  bool is_mapped = false;
};

/// Where the sections of a payload go.
class SectionSink {
 public:
  virtual ~SectionSink() = default;
  /// Called from several threads, each byte of a section once.
  virtual Result<void> write(format::Section section, std::uint64_t offset, Bytes bytes) = 0;
};

/// Compresses one tensor in passes over its rows: count bits and take the checksum; measure every row, so that its
/// place is known; encode. Nothing is kept of the rows between passes, and each pass works on all processors.
class Encoder {
 public:
  /// The first two passes. `source.data` must stay, and stay the same, until `write` has returned.
  static Result<Encoder> prepare(const Source& source, const CompressOptions& options);

  /// All but payload_checksum, which does not exist before the payload does.
  [[nodiscard]] const format::PayloadHeader& header() const noexcept { return header_; }

  [[nodiscard]] const Source& source() const noexcept { return source_; }

  /// The last pass: everything but the header section.
  Result<void> write(SectionSink& sink);

  [[nodiscard]] const std::shared_ptr<const RowCodec>& codec() const noexcept { return codec_; }

  /// Keeps of the codec only its plan until `write` needs it again: of many tensors that are prepared before the first
  /// is written, the masks would take more memory than anything else.
  void set_codec_aside();

 private:
  /// A run of tiles that one thread works on: whole index blocks.
  struct Chunk {
    std::uint64_t rows_offset = 0;      ///< of its first tile, in the rows section
    std::uint64_t overflow_offset = 0;  ///< of its first tail
  };

  Encoder(const Source& source, const CompressOptions& options);

  /// Fills in what the source and the options say of the header.
  Result<void> describe();

  /// The first pass: the checksum, and the counts if they are wanted.
  Result<void> scan(BitStatistics* statistics);

  /// Chooses the codec, the tiles and the stride. False when rows are best stored raw.
  Result<bool> plan(const BitStatistics& statistics);

  /// The second pass: how large every tile is stored, and so where it belongs.
  Result<void> measure();
  void store_raw();
  void fill_last_tile();
  [[nodiscard]] const std::byte* tile(std::uint64_t i) const noexcept;
  Result<void> for_each_chunk(
      const std::function<Result<void>(std::uint64_t chunk, std::uint64_t first, std::uint64_t end)>& body) const;
  Result<void> write_packed(SectionSink& sink, std::uint64_t chunk, std::uint64_t first, std::uint64_t end) const;
  Result<void> write_slotted(SectionSink& sink, std::uint64_t chunk, std::uint64_t first, std::uint64_t end) const;
  Result<void> write_raw(SectionSink& sink) const;
  void done(std::uint64_t offset, std::uint64_t num_bytes) const;

  Source source_;
  CompressOptions options_;
  unsigned num_threads_;
  format::PayloadHeader header_;
  std::shared_ptr<const RowCodec> codec_;
  std::vector<std::byte> plan_;       ///< of a codec that was set aside
  std::vector<std::byte> last_tile_;  ///< a copy of the last tile, filled up, where the tensor ends within it
  std::uint64_t tiles_per_chunk_ = 0;
  std::vector<Chunk> chunks_;  ///< one more than there are chunks: the last one says where everything ends
};

}  // namespace stillbit
