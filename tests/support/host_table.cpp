#include "tests/support/host_table.hpp"

#include "api/compressed_tensor.hpp"
#include "gpu/warp_codecs.hpp"
#include "gpu/warp_table.hpp"
#include "warp/host_warp.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace stillbit::testing {
namespace {

constexpr std::align_val_t kAlignment{warp::kSectionAlignment};

}  // namespace

SectionMemory::SectionMemory(std::span<const std::byte> bytes, std::uint64_t slack)
    : data_(static_cast<std::byte*>(::operator new(bytes.size() + slack, kAlignment))) {
  std::fill_n(data_, bytes.size() + slack, std::byte{0xA5});
  std::copy(bytes.begin(), bytes.end(), data_);
}

SectionMemory::SectionMemory(SectionMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}

SectionMemory& SectionMemory::operator=(SectionMemory&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

SectionMemory::~SectionMemory() {
  ::operator delete(data_, kAlignment);
}

std::optional<Row> expanded_by_warp(const RowCodec& codec, const Row& stored, std::uint64_t row_bytes) {
  const warp::PlanBytes plan_bytes = codec.warp_plan();
  const SectionMemory plan(plan_bytes.bytes);
  // Rows lie at any byte of a stage.
  const std::uint64_t first_byte = stored.size() % 16;
  Row staged(first_byte);
  staged.insert(staged.end(), stored.begin(), stored.end());
  const SectionMemory stage(staged);
  const SectionMemory scratch(Row(warp::kScratchBytes), 0);
  const auto row = std::make_unique<std::byte[]>(row_bytes);
  const warp::ByteRun run{reinterpret_cast<const std::uint32_t*>(stage.data()), static_cast<std::uint32_t>(first_byte),
                          static_cast<std::uint32_t>(stored.size())};
  const warp::Output out{reinterpret_cast<std::uintptr_t>(row.get()), 0, static_cast<std::uint32_t>(row_bytes)};
  const bool is_sound = with_warp_codec(codec.codec(), plan_bytes.view_bytes, [&](auto type) {
    using WarpCodec = decltype(type);
    warp::HostWarp warp;
    return WarpCodec::decode(warp, *reinterpret_cast<const typename WarpCodec::Plan*>(plan.data()), run, out,
                             scratch.data());
  });
  if (!is_sound) return std::nullopt;
  return Row(row.get(), row.get() + row_bytes);
}

HostTable::HostTable(const CompressedTensor& tensor)
    : codec_(tensor.codec()), dtype_(tensor.dtype()), table_(warp_table(tensor.impl().header).value()) {
  const format::Payload payload = tensor.impl().sections();
  const warp::PlanBytes plan = tensor.impl().codec->warp_plan();
  view_bytes_ = plan.view_bytes;
  plan_ = SectionMemory(plan.bytes);
  map_ = SectionMemory(payload.map);
  index_ = SectionMemory(payload.index);
  rows_ = SectionMemory(payload.rows);
  overflow_ = SectionMemory(payload.overflow);
  table_.map = map_.data();
  table_.index = index_.data();
  table_.rows = rows_.data();
  table_.overflow = overflow_.data();
}

warp::Status HostTable::run(const warp::Table& table, warp::Request request, const WarpSetup& setup) const {
  request.batch_items = setup.batch_items;
  warp::Status status;
  const std::uint32_t stage_bytes = warp::stage_bytes_for(table);
  with_warp_codec(codec_, view_bytes_, [&](auto codec) {
    using WarpCodec = decltype(codec);
    const auto& plan = *reinterpret_cast<const typename WarpCodec::Plan*>(plan_.data());
    for (std::uint64_t number = 0; number < setup.num_warps; ++number) {
      const SectionMemory data(std::vector<std::byte>(std::size_t{setup.num_stages} * stage_bytes), 0);
      const SectionMemory scratch(std::vector<std::byte>(warp::kScratchBytes), 0);
      std::vector<warp::Item> items(setup.num_stages);
      const warp::Stages stages{data.data(), items.data(), scratch.data(), stage_bytes, setup.num_stages};
      warp::HostWarp warp;
      warp::expand<WarpCodec>(warp, table, plan, request, stages, number, setup.num_warps, &status);
    }
  });
  return status;
}

warp::Status HostTable::expand(std::byte* out, const WarpSetup& setup) const {
  return run(table_, {.out = out, .num_items = table_.num_tiles}, setup);
}

warp::Status HostTable::expand_piece(const cuda::Piece& piece, std::span<const std::byte> moved, std::byte* out) const {
  const SectionMemory memory(moved);
  warp::Table part = table_;
  part.rows = reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(memory.data()) - piece.begin);
  part.present_begin = piece.begin;
  part.present_end = piece.end;
  return run(part, {.first_tile = piece.first_tile, .out = out, .num_items = piece.num_tiles}, {});
}

template <class Index>
warp::Status HostTable::gather(std::span<const Index> index, std::byte* out, const WarpSetup& setup,
                               const std::int64_t* positions) const {
  const std::uint32_t per_row = tiles_per_row(table_);
  return run(table_,
             {.index = index.data(),
              .positions = positions,
              .out = out,
              .num_items = index.size() * per_row,
              .tiles_per_row = per_row,
              .is_wide_index = sizeof(Index) == 8},
             setup);
}

warp::BagTable HostTable::bags(const Bags& bags, std::byte* out, std::uint64_t out_stride, warp::Status* status) const {
  warp::BagTable made;
  made.table = table_;
  made.plan = plan_.data();
  made.status = status;
  warp::BagRequest& request = made.request;
  request.element = warp_element(dtype_).value();
  request.pooling = warp_pooling(bags.mode);
  std::visit(
      [&](const auto& index) {
        request.index = index.data();
        request.num_index = index.size();
        request.is_wide_index = sizeof(index[0]) == 8;
      },
      bags.index);
  std::visit(
      [&](const auto& offsets) {
        request.offsets = offsets.data();
        request.is_wide_offsets = sizeof(offsets[0]) == 8;
      },
      bags.offsets);
  request.num_bags = bags.num_bags();
  request.has_last_offset = bags.has_last_offset;
  request.weights = bags.weights ? bags.weights->data() : nullptr;
  request.has_padding = bags.padding_index.has_value();
  request.padding = bags.padding_index.value_or(0);
  request.tiles_per_row = tiles_per_row(table_);
  request.out = out;
  request.out_stride = out_stride;
  return made;
}

void pool_by_warps(std::vector<warp::BagTable> tables, Codec codec, unsigned view_bytes, const WarpSetup& setup) {
  warp::BagTables bags{tables.data(), static_cast<std::uint32_t>(tables.size()), setup.batch_items, 0};
  warp::BagMemory memory;
  std::uint32_t stage_bytes = 0;
  for (warp::BagTable& table : tables) {
    table.first_batch = bags.num_batches;
    bags.num_batches += (table.request.num_bags + setup.batch_items - 1) / setup.batch_items;
    memory.hold(table);
    stage_bytes = std::max(stage_bytes, warp::stage_bytes_for(table.table));
  }
  with_warp_codec(codec, view_bytes, [&](auto found) {
    for (std::uint64_t number = 0; number < setup.num_warps; ++number) {
      const SectionMemory data(std::vector<std::byte>(std::size_t{setup.num_stages} * stage_bytes), 0);
      const SectionMemory scratch(std::vector<std::byte>(warp::kScratchBytes), 0);
      // What no kernel has written yet is anything.
      const SectionMemory work(std::vector<std::byte>(memory.num_bytes(), std::byte{0xFF}), 0);
      const warp::BagStages stages{data.data(), scratch.data(), work.data(), memory, stage_bytes, setup.num_stages};
      warp::HostWarp warp;
      warp::pool<decltype(found)>(warp, bags, stages, number, setup.num_warps);
    }
  });
}

template warp::Status HostTable::gather(std::span<const std::int32_t>, std::byte*, const WarpSetup&,
                                        const std::int64_t*) const;
template warp::Status HostTable::gather(std::span<const std::int64_t>, std::byte*, const WarpSetup&,
                                        const std::int64_t*) const;

}  // namespace stillbit::testing
