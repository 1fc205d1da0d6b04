#include "tests/support/host_encoder.hpp"

#include "api/compressed_tensor.hpp"
#include "gpu/warp_encoders.hpp"
#include "warp/host_warp.hpp"

#include <algorithm>

namespace stillbit::testing {
namespace {

/// What nothing has been written to yet.
constexpr std::byte kUntouched{0xA5};

SectionMemory untouched(std::uint64_t num_bytes, std::uint64_t slack) {
  return SectionMemory(std::vector<std::byte>(num_bytes, kUntouched), slack);
}

}  // namespace

HostEncoder::HostEncoder(const CompressedTensor& like, std::uint64_t num_rows, std::uint64_t overflow_capacity,
                         std::uint64_t stride)
    : like_(like), use_(std::make_unique<warp::OverflowUse>()) {
  const format::PayloadHeader& header = like.impl().header;
  const warp::PlanBytes plan = like.impl().codec->warp_encode_plan();
  view_bytes_ = plan.view_bytes;
  plan_ = SectionMemory(plan.bytes);
  table_.use = use_.get();
  table_.stride = stride == 0 ? header.row_unit : stride;
  table_.row_bytes = static_cast<std::uint32_t>(header.geometry.row_bytes);
  grow(num_rows, overflow_capacity);
}

void HostEncoder::grow(std::uint64_t num_rows, std::uint64_t overflow_capacity) {
  SectionMemory slots = untouched(num_rows * table_.stride, warp::kSectionSlack);
  SectionMemory overflow = untouched(overflow_capacity, 0);
  std::copy_n(slots_.data(), table_.num_rows * table_.stride, slots.data());
  std::copy_n(overflow_.data(), table_.overflow_capacity, overflow.data());
  slots_ = std::move(slots);
  overflow_ = std::move(overflow);
  table_.slots = slots_.data();
  table_.overflow = overflow_.data();
  table_.num_rows = num_rows;
  table_.overflow_capacity = overflow_capacity;
}

warp::Status HostEncoder::put(std::span<const std::byte> rows, std::uint64_t first_row, const WarpSetup& setup) {
  return run({.src = rows.data(), .first_row = first_row, .num_rows = rows.size() / table_.row_bytes}, setup);
}

warp::Status HostEncoder::update(std::span<const std::int64_t> index, std::span<const std::byte> rows,
                                 const WarpSetup& setup) {
  std::vector<std::uint32_t> cells(warp::num_cells_for(index.size()));
  return run({.src = rows.data(),
              .index = index.data(),
              .num_rows = index.size(),
              .last_writers = {cells.data(), static_cast<std::uint32_t>(cells.size())},
              .has_old_rows = true},
             setup);
}

warp::Status HostEncoder::run(warp::CompressRequest request, const WarpSetup& setup) {
  request.batch_rows = setup.batch_items;
  warp::Status status;
  if (request.index != nullptr) {
    for (std::uint64_t number = 0; number < setup.num_warps; ++number) {
      warp::HostWarp warp;
      warp::find_last_writers(warp, request.last_writers, request.index, static_cast<std::uint32_t>(request.num_rows),
                              table_.num_rows, number, setup.num_warps, &status);
    }
  }
  const std::uint32_t stage_bytes = warp::compress_stage_bytes(table_.row_bytes);
  with_warp_encoder(like_.codec(), view_bytes_, [&](auto encoder) {
    using Encoder = decltype(encoder);
    const auto& plan = *reinterpret_cast<const typename Encoder::Plan*>(plan_.data());
    for (std::uint64_t number = 0; number < setup.num_warps; ++number) {
      const SectionMemory data = untouched(std::uint64_t{setup.num_stages} * stage_bytes, 0);
      const SectionMemory output = untouched(stage_bytes, 0);
      const SectionMemory scratch = untouched(warp::kScratchBytes, 0);
      std::vector<warp::CompressItem> items(setup.num_stages);
      warp::HostWarp warp;
      warp::compress<Encoder>(warp, table_, plan, request,
                              {data.data(), items.data(), output.data(), scratch.data(), stage_bytes, setup.num_stages},
                              number, setup.num_warps, &status);
    }
  });
  return status;
}

std::uint64_t HostEncoder::overflow_bytes() const {
  return std::min(use_->used_bytes, table_.overflow_capacity);
}

bool HostEncoder::is_intact_behind() const {
  const auto is_untouched = [](std::byte byte) { return byte == kUntouched; };
  const std::byte* const end = table_.slots + table_.num_rows * table_.stride;
  return std::all_of(end, end + warp::kSectionSlack, is_untouched) &&
         std::all_of(table_.overflow + overflow_bytes(), table_.overflow + table_.overflow_capacity, is_untouched);
}

bool HostEncoder::is_untouched(std::uint64_t row) const {
  const std::byte* const slot = table_.slots + row * table_.stride;
  return std::all_of(slot, slot + table_.stride, [](std::byte byte) { return byte == kUntouched; });
}

CompressedTensor HostEncoder::tensor() const {
  auto impl = std::make_unique<CompressedTensor::Impl>();
  impl->header = like_.impl().header;
  impl->codec = like_.impl().codec;
  format::PayloadHeader& header = impl->header;
  header.shape[0] = table_.num_rows;
  header.geometry = row_geometry(header.dtype, header.shape, header.row_dims).value();
  header.row_unit = table_.stride;
  header.rows_bytes = table_.num_rows * table_.stride;
  header.overflow_bytes = overflow_bytes();
  impl->rows = Buffer(header.rows_bytes);
  impl->overflow = Buffer(header.overflow_bytes);
  std::copy_n(table_.slots, header.rows_bytes, impl->rows.data());
  std::copy_n(table_.overflow, header.overflow_bytes, impl->overflow.data());
  impl->is_unchanged = false;
  return CompressedTensor(std::move(impl));
}

}  // namespace stillbit::testing
