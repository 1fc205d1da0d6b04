#include "files/analyze_tensor.hpp"

#include "analysis/exponents.hpp"
#include "analysis/invariance.hpp"
#include "analysis/stored_bits.hpp"
#include "api/compressed_tensor.hpp"
#include "planner/runs.hpp"

#include <algorithm>
#include <utility>

namespace stillbit {
namespace {

/// What is counted of the tiles of one tensor.
class TileCounts {
 public:
  TileCounts(const format::PayloadHeader& header, const RowCodec& codec, const AnalysisBudget& budget)
      : header_(header),
        codec_(codec),
        bits_(header),
        exponents_(header.dtype),
        invariance_(header, budget.max_parts),
        sample_bytes_(budget.sample_bytes) {}

  /// Calls take(tile) for those that make the sample.
  template <class Take>
  Result<void> for_each_tile(const Take& take) {
    const RowGeometry tiles = header_.stored_tiles();
    Result<void> result;
    const auto take_run = [&](std::uint64_t first, std::uint64_t count) {
      for (std::uint64_t i = first; i < first + count && result.ok(); ++i) result = take(i);
    };
    if (tiles.num_bytes() <= sample_bytes_) {
      take_run(0, tiles.num_rows);
    } else {
      planner::for_each_run(tiles.num_rows, tiles.row_bytes, sample_bytes_, take_run);
    }
    return result;
  }

  void add(std::uint64_t tile, const std::byte* raw, const StoredRow& row) {
    // The last tile may reach behind the tensor. Of a tensor with repeats, tiles are rows.
    const std::uint64_t begin = tile * header_.tile_bytes;
    const Bytes bytes(raw, std::min(header_.tile_bytes, header_.geometry.num_bytes() - begin));
    const std::vector<float>& view_bits = bits_.add(codec_, row);
    const auto view_bytes = view_bits.empty() ? 1 : header_.tile_bytes / view_bits.size();
    exponents_.add(bytes, view_bits, static_cast<unsigned>(view_bytes));
    invariance_.add(tile, bytes);
    sampled_bytes_ += bytes.size();
  }

  void finish(TensorAnalysis& analysis) {
    analysis.bits = bits_.result();
    analysis.exponents = exponents_.result();
    analysis.invariance = invariance_.result();
    // Rows that repeat others were looked at with them.
    const bool is_whole = sampled_bytes_ + header_.num_repeats * header_.geometry.row_bytes == analysis.info.raw_bytes;
    analysis.sampled_bytes = is_whole ? analysis.info.raw_bytes : sampled_bytes_;
  }

 private:
  const format::PayloadHeader& header_;
  const RowCodec& codec_;
  analysis::StoredBits bits_;
  analysis::ExponentCounts exponents_;
  analysis::InvarianceCounts invariance_;
  std::uint64_t sample_bytes_;
  std::uint64_t sampled_bytes_ = 0;
};

/// What the header says.
TensorAnalysis described(const format::PayloadHeader& header) {
  TensorAnalysis analysis;
  analysis.num_rows = header.geometry.num_rows;
  analysis.row_bytes = header.geometry.row_bytes;
  analysis.tile_bytes = header.tile_bytes;
  analysis.num_repeats = header.num_repeats;
  analysis.bits = analysis::StoredBits(header).result();
  return analysis;
}

}  // namespace

Result<TensorAnalysis> analyze(const Source& source, const CompressOptions& options, const AnalysisBudget& budget) {
  STILLBIT_TRY(const Encoder encoder, Encoder::planned(source, options, nullptr));
  const format::PayloadHeader& header = encoder.header();
  TensorAnalysis analysis = described(header);
  const std::uint64_t stored_bytes = layout_of(header).payload_bytes;
  const std::uint64_t raw_bytes = source.data.size();
  analysis.info = {{},
                   header.dtype,
                   header.shape,
                   header.codec,
                   header.packing,
                   raw_bytes,
                   stored_bytes,
                   stored_bytes - header.rows_bytes - header.overflow_bytes,
                   1.0,
                   encoder.prices()};
  analysis.is_estimate = true;
  if (raw_bytes == 0) return analysis;

  const RowCodec& codec = *encoder.codec();
  TileCounts counts(header, codec, budget);
  std::vector<std::byte> encoded(header.tile_bytes + RowCodec::kSlack);
  STILLBIT_CHECK(counts.for_each_tile([&](std::uint64_t tile) -> Result<void> {
    const std::byte* const raw = encoder.tile(tile);
    const std::uint64_t size = codec.encode(raw, encoded.data());
    const bool is_raw = size == header.tile_bytes;
    // What a slot has room for and the row does not fill is padding; codecs look at no byte behind a row.
    const bool has_slot = header.packing == Packing::kSlotted && header.row_unit < header.tile_bytes;
    const std::uint64_t room = has_slot ? header.row_unit - format::kSlotTagBytes : 0;
    counts.add(tile, raw, {encoded.data(), is_raw ? size : std::max(size, room), is_raw});
    return {};
  }));
  counts.finish(analysis);
  return analysis;
}

Result<TensorAnalysis> analyze(const CompressedTensor& tensor, const AnalysisBudget& budget) {
  const CompressedTensor::Impl& impl = tensor.impl();
  const format::PayloadHeader& header = impl.header;
  TensorAnalysis analysis = described(header);
  analysis.info = tensor.info();
  if (analysis.info.raw_bytes == 0) return analysis;

  TileCounts counts(header, *impl.codec, budget);
  const packing::RowReader reader = impl.reader();
  packing::RowReader::Scratch scratch;
  std::vector<std::byte> expanded(header.tile_bytes + RowCodec::kSlack);
  STILLBIT_CHECK(counts.for_each_tile([&](std::uint64_t tile) -> Result<void> {
    scratch.clear();
    StoredRow row;
    const bool is_found = reader.locate(tile, scratch, row) == packing::RowReader::Place::kFound;
    if (!is_found || impl.codec->decode(&row, 1, expanded.data()) != 1)
      return corrupt("stored row " + std::to_string(tile) + " is malformed");
    counts.add(tile, expanded.data(), row);
    return {};
  }));
  counts.finish(analysis);
  return analysis;
}

}  // namespace stillbit
