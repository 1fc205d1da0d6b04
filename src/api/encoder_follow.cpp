// The part of the encoder that makes plans for others to follow, follows plans, and encodes parts of a tensor.

#include "api/encoder.hpp"
#include "api/plan.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <utility>

namespace stillbit {

std::vector<std::byte> Encoder::filled_last_tile(Bytes data, const format::PayloadHeader& header) {
  const std::uint64_t tile_bytes = header.tile_bytes;
  const std::uint64_t missing = header.tiles().num_bytes() - data.size();
  if (missing == 0) return {};
  const Bytes last = data.last(tile_bytes - missing);
  std::vector<std::byte> tile(last.begin(), last.end());
  const bool has_rows = tile_bytes > header.geometry.row_bytes;
  const Bytes filling = data.last(has_rows ? header.geometry.row_bytes : num_bytes(header.dtype));
  while (tile.size() < tile_bytes) tile.insert(tile.end(), filling.begin(), filling.end());
  return tile;
}

void Encoder::leave_out(planner::Repeats repeats) {
  header_.num_repeats = header_.geometry.num_rows - repeats.stored_rows.size();
  if (header_.num_repeats > 0) repeats_ = std::move(repeats);
}

Result<void> Encoder::follow(const Plan::Impl& plan) {
  STILLBIT_CHECK(check_rows(plan, header_.dtype, std::span(header_.shape).last(header_.row_dims)));
  if (header_.geometry.num_bytes() == 0) return {};
  if (plan.stores_repeats_once && can_find_repeats()) leave_out(find_repeats());
  const Codec codec = plan.codec->codec();
  if (codec == Codec::kRaw) {
    header_ = planner::price_raw(header_).header;
    return {};
  }
  if (plan.tile_bytes > source_.data.size()) {
    // Smaller than one tile: only a plan of its own fits.
    options_.codec = codec;
    return this->plan();
  }
  header_.codec = codec;
  header_.plan_bytes = plan.codec->plan().size();
  header_.tile_bytes = plan.tile_bytes;
  if (header_.packing == Packing::kSlotted) {
    header_.row_unit = plan.stride;
    header_.rows_bytes = header_.geometry.num_rows * plan.stride;
    rows_room_ = header_.rows_bytes;
  }
  codec_ = plan.codec;
  last_tile_ = filled_last_tile(source_.data, header_);
  return {};
}

Result<void> Encoder::describe_sample(const AllRows& all) {
  const std::uint64_t row_bytes = header_.geometry.row_bytes;
  if (all.num_rows < header_.geometry.num_rows) {
    return invalid("the sample has " + std::to_string(header_.geometry.num_rows) + " rows, all together are " +
                   std::to_string(all.num_rows));
  }
  if (header_.geometry.num_rows == 0 && all.num_rows > 0) return invalid("a plan cannot be made from no rows");
  header_.shape.erase(header_.shape.begin(), header_.shape.end() - header_.row_dims);
  header_.shape.insert(header_.shape.begin(), all.num_rows);
  STILLBIT_TRY(header_.geometry, row_geometry(header_.dtype, header_.shape, header_.row_dims));
  if (all.statistics == nullptr || header_.geometry.num_bytes() == 0) return {};
  const std::uint64_t counted = counted_row_bytes(header_.dtype, row_bytes);
  if (all.statistics->row_bytes() == counted && all.statistics->num_rows() == all.num_rows * (row_bytes / counted))
    return {};
  return invalid("the statistics are of " + std::to_string(all.statistics->num_rows()) + " rows of " +
                 std::to_string(all.statistics->row_bytes()) + " bytes, not of " +
                 std::to_string(all.num_rows * (row_bytes / counted)) + " rows of " + std::to_string(counted));
}

Result<Encoder> Encoder::planned(const Source& source, const CompressOptions& options, const AllRows* all) {
  CompressOptions own = options;
  own.plan = nullptr;
  own.progress = nullptr;
  Encoder encoder(source, own);
  STILLBIT_CHECK(encoder.describe());
  if (all != nullptr) {
    STILLBIT_CHECK(encoder.describe_sample(*all));
    encoder.all_ = all;
  }
  encoder.store_raw();
  if (options.codec != Codec::kRaw && encoder.header_.geometry.num_bytes() > 0) STILLBIT_CHECK(encoder.plan());
  return encoder;
}

Result<Plan> Encoder::make_plan(const Source& source, const CompressOptions& options, const AllRows* all) {
  STILLBIT_TRY(Encoder encoder, planned(source, options, all));
  const format::PayloadHeader& header = encoder.header_;
  auto plan = std::make_shared<Plan::Impl>();
  plan->dtype = header.dtype;
  plan->row_shape.assign(header.shape.end() - header.row_dims, header.shape.end());
  plan->row_bytes = header.geometry.row_bytes;
  plan->packing = header.packing;
  plan->objective = options.objective;
  plan->num_rows = header.geometry.num_rows;
  plan->tile_bytes = header.tile_bytes;
  plan->stride = header.packing == Packing::kSlotted ? header.row_unit : 0;
  plan->stores_repeats_once = header.num_repeats > 0;
  plan->codec = encoder.codec_;
  plan->prices = std::move(encoder.prices_);
  return Plan(std::move(plan));
}

Result<PartPlace> Encoder::write_part(const Source& part, const format::PayloadHeader& header,
                                      const std::shared_ptr<const RowCodec>& codec, const PartPlace& place,
                                      const CompressOptions& options, SectionSink& sink) {
  Encoder encoder(part, options);
  encoder.header_ = header;
  // As a tensor by itself: of rows where its tiles have whole ones, else of elements.
  const bool has_rows = header.tile_bytes % header.geometry.row_bytes == 0;
  const std::uint64_t unit = has_rows ? header.geometry.row_bytes : num_bytes(header.dtype);
  encoder.header_.geometry = {part.data.size() / unit, unit};
  encoder.codec_ = codec;
  encoder.last_tile_ = filled_last_tile(part.data, encoder.header_);
  encoder.place_ = place;
  encoder.chunks_.assign(encoder.num_chunks() + 1, {});
  std::vector<std::uint64_t> deltas(encoder.num_threads_, place.largest_delta);
  STILLBIT_CHECK(cpu::parallel_for(encoder.num_chunks(), encoder.num_threads_,
                                   [&](std::uint64_t i, unsigned worker) -> Result<void> {
                                     const packing::PackedSizes sizes = encoder.measure_chunk(i);
                                     deltas[worker] = std::max(deltas[worker], sizes.largest_delta);
                                     return {};
                                   }));
  encoder.place_chunks();
  STILLBIT_CHECK(encoder.write_chunks(sink));
  const Chunk& end = encoder.chunks_.back();
  return PartPlace{place.first_tile + encoder.header_.tiles().num_rows, end.rows_offset, end.overflow_offset,
                   *std::max_element(deltas.begin(), deltas.end())};
}

}  // namespace stillbit
