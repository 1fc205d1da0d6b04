#pragma once

#include "api/chunk_places.hpp"
#include "api/piece_digest.hpp"
#include "codecs/codec.hpp"
#include "core/checksum.hpp"
#include "format/payload.hpp"
#include "packings/packed.hpp"
#include "planner/choose.hpp"
#include "planner/repeats.hpp"

#include <stillbit/options.hpp>
#include <stillbit/plan.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
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

struct SectionBuffers;

/// Where a part of a tensor starts in the payload of the whole.
struct PartPlace {
  std::uint64_t first_tile = 0;
  std::uint64_t rows_offset = 0;
  std::uint64_t overflow_offset = 0;
  std::uint64_t largest_delta = 0;  ///< of all rows before, in their index blocks
};

/// Compresses one tensor: chooses a codec by a sample, and then goes over the rows twice. The first pass takes the
/// checksum and measures every row, so that its place is known; the second encodes. (Invariant bits are counted over
/// all rows, which takes one more pass where codec ibp is chosen.) Nothing is kept of the rows between passes, and each
/// pass works on all processors. Into memory both passes are one, where that is possible (`encode`).
class Encoder {
 public:
  /// All but the last pass. `source.data` must stay, and stay the same, until `write` has returned.
  static Result<Encoder> prepare(const Source& source, const CompressOptions& options);

  /// Plans, and encodes all sections into memory: in one pass where the planner knows about how large they become. The
  /// bytes are those that `prepare` and `write` would give.
  static Result<Encoder> encode(const Source& source, const CompressOptions& options, const SectionBuffers& buffers);

  /// Only the planning, without any plan that the options name: of a whole tensor or, with `all`, of a sample of one.
  /// The header's sizes are those that the planner expects: exact where what it priced is the tensor.
  static Result<Encoder> planned(const Source& source, const CompressOptions& options, const AllRows* all);

  /// What `planned` found, for others to follow.
  static Result<Plan> make_plan(const Source& source, const CompressOptions& options, const AllRows* all);

  /// Measures and encodes a part of a tensor, all sections but plan and map. `header` is the whole tensor's, with
  /// index_bits wide enough for any row; a part has whole index blocks of tiles unless it is the last. Returns where
  /// the next part starts.
  static Result<PartPlace> write_part(const Source& part, const format::PayloadHeader& header,
                                      const std::shared_ptr<const RowCodec>& codec, const PartPlace& place,
                                      const CompressOptions& options, SectionSink& sink);

  /// All but payload_checksum, which does not exist before the payload does.
  [[nodiscard]] const format::PayloadHeader& header() const noexcept { return header_; }

  [[nodiscard]] const Source& source() const noexcept { return source_; }

  /// The last pass: everything but the header section.
  Result<void> write(SectionSink& sink);

  [[nodiscard]] const std::shared_ptr<const RowCodec>& codec() const noexcept { return codec_; }

  /// Where a stored tile starts in the tensor; behind the last one, the tensor's end.
  [[nodiscard]] std::uint64_t tile_offset(std::uint64_t i) const noexcept;
  /// Its bytes; the last one is filled up where the tensor ends within it.
  [[nodiscard]] const std::byte* tile(std::uint64_t i) const noexcept;

  /// What the codecs that were considered would have taken.
  [[nodiscard]] const std::vector<CodecPrice>& prices() const noexcept { return prices_; }

  /// Keeps of the codec only its plan until `write` needs it again: of many tensors that are prepared before the first
  /// is written, the masks would take more memory than anything else.
  void set_codec_aside();

 private:
  /// Stored tiles that one thread works on: whole index blocks, those that start in one MiB of them.
  using Chunk = ChunkPlace;
  struct TileRange {
    std::uint64_t first;
    std::uint64_t end;
  };

  /// A way to store the tensor: what of the header follows before a codec is chosen, and the tiles that are stored.
  struct Arrangement {
    format::PayloadHeader header;
    planner::Repeats repeats;          ///< empty where every tile is stored
    std::vector<std::byte> last_tile;  ///< a copy of the last tile, filled up, where the tensor ends within it
    std::vector<std::byte> copied;     ///< the sample, where it is no part of the tensor
    Bytes sample;
    std::vector<planner::Option> options;

    [[nodiscard]] bool is_whole() const noexcept { return sample.size() == header.stored_tiles().num_bytes(); }
  };

  /// Raw bytes of a chunk, as many as a piece of the checksum has: enough to outweigh handing it out, few enough to
  /// stay in the caches between two steps.
  static constexpr std::uint64_t kChunkBytes = kChecksumPieceBytes;

  Encoder(const Source& source, const CompressOptions& options);

  /// Fills in what the source and the options say of the header.
  Result<void> describe();
  Result<void> describe_sample(const AllRows& all);
  void store_raw(const format::PayloadHeader& header);
  void store_raw();
  /// Whether the tensor turned out to be smaller as it is.
  [[nodiscard]] bool promised_too_much() const;

  /// All that is decided before the rows are gone over.
  Result<void> choose();

  /// Chooses how tiles are cut, whether repeats are stored, the codec and the stride.
  Result<void> plan();
  /// The same as a plan says that was made before.
  Result<void> follow(const Plan::Impl& plan);
  void leave_out(planner::Repeats repeats);
  /// The last tile, filled up where the data ends within it: a tile of rows with rows, a part of a row with elements.
  [[nodiscard]] static std::vector<std::byte> filled_last_tile(Bytes data, const format::PayloadHeader& header);
  /// Lets codecs plan and price themselves, by bits that were counted or, without them, by those of the sample.
  Result<void> consider(Arrangement& arrangement, std::span<const planner::Candidate> candidates,
                        const BitStatistics* counted) const;
  [[nodiscard]] std::pair<planner::Option*, Arrangement*> cheapest_of(std::vector<Arrangement>& arrangements) const;
  /// Where the options leave it open: packs rows for which slots cost too much, and gives up repeats that do not.
  void choose_packing(std::vector<Arrangement>& arrangements) const;
  void note_prices(const std::vector<Arrangement>& arrangements);
  void adopt(planner::Option* best, Arrangement* in, std::vector<Arrangement>& arrangements);
  [[nodiscard]] std::uint64_t max_priced_bytes() const noexcept;
  /// The rows at hand: of a sample there may be fewer than would make a tile.
  [[nodiscard]] RowGeometry source_rows() const noexcept;
  [[nodiscard]] std::uint64_t tile_bytes_for(std::uint64_t wanted_bytes) const;
  [[nodiscard]] Arrangement arrange_tiles(std::uint64_t tile_bytes) const;
  [[nodiscard]] std::optional<Arrangement> arrange_repeats() const;
  [[nodiscard]] planner::Repeats find_repeats() const;
  /// Whether the memory that this takes is in proportion.
  [[nodiscard]] bool can_find_repeats() const;

  /// Counts the bits of all rows.
  [[nodiscard]] BitStatistics count() const;

  using ChunkBody = std::function<Result<void>(std::uint64_t chunk, unsigned worker, PieceDigest& digest)>;
  /// Calls `body` for each chunk, and takes the checksum of the source on the way: of what `body` did not add to the
  /// digest behind it.
  Result<void> check_and(std::uint64_t num_chunks, const ChunkBody& body);

  /// The first pass: the checksum, how large every tile is stored, and so where it belongs.
  Result<void> measure();
  packing::PackedSizes measure_chunk(std::uint64_t chunk);
  void place_chunks();
  /// Fills in the header's sizes once all chunks have their places.
  void describe_sizes(const packing::PackedSizes& packed);
  Result<void> write_chunks(SectionSink& sink) const;
  /// Requests a third of the part of the source that comes kAheadBytes behind a tile, as large as a tile: one third
  /// before the tile is encoded, the others between what is done then.
  void request_ahead(std::uint64_t i, unsigned third) const noexcept;
  [[nodiscard]] std::uint64_t num_chunks() const noexcept;
  [[nodiscard]] TileRange chunk_range(std::uint64_t chunk) const noexcept;

  /// All passes in one. False when what was written is of no use: there was too little room, or nothing is gained.
  class OnePass;
  Result<bool> encode_in_one_pass(const SectionBuffers& buffers);

  Result<void> write_map(SectionSink& sink) const;
  Result<void> write_raw(SectionSink& sink, TileRange range) const;
  Result<void> write_packed(SectionSink& sink, std::uint64_t chunk) const;
  Result<void> write_slotted(SectionSink& sink, std::uint64_t chunk) const;
  void done(std::uint64_t offset, std::uint64_t num_bytes) const;

  Source source_;
  CompressOptions options_;
  unsigned num_threads_;
  format::PayloadHeader header_;
  std::shared_ptr<const RowCodec> codec_;
  std::vector<CodecPrice> prices_;
  std::vector<std::byte> plan_;  ///< of a codec that was set aside
  planner::Repeats repeats_;
  std::vector<std::byte> last_tile_;
  std::uint64_t rows_room_ = 0;  ///< for the rows section, before its size is known; 0 where nothing is known of it
  PartPlace place_;
  const AllRows* all_ = nullptr;  ///< where the source is but a sample
  std::vector<Chunk> chunks_;     ///< one more than there are chunks: the last one says where everything ends
};

}  // namespace stillbit
