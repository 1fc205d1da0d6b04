// Rewriting rows of a slotted tensor in memory.

#include "api/compressed_tensor.hpp"
#include "core/checked.hpp"
#include "packings/slot.hpp"

#include <algorithm>

namespace stillbit {
namespace {

/// The overflow area is compacted when more than this is unused, and more than half of it.
constexpr std::uint64_t kMinUnusedBytes = std::uint64_t{1} << 16;

Result<void> check_mutable(const CompressedTensor::Impl& impl) {
  if (impl.header.packing != Packing::kSlotted)
    return invalid("rows of a packed tensor cannot be changed: compress it with packing=\"slotted\"");
  if (!impl.mapped.empty()) return invalid("the tensor is mapped from a file and read-only: load it with mmap = false");
  return {};
}

/// The overflow bytes that a slot names; none of them when it holds its row.
packing::SlotTrailer tail_of(const std::byte* slot, std::uint64_t stride) {
  if (packing::slot_tag(slot, stride) == format::SlotTag::kInline) return {0, 0};
  return packing::slot_trailer(slot, stride);
}

/// Stores one row in its slot. `had` is the tail of the row that was there: the new one may take its place.
void store_row(CompressedTensor::Impl& impl, std::uint64_t row, const std::byte* src, packing::SlotTrailer had,
               std::vector<std::byte>& encoded) {
  const std::uint64_t stride = impl.header.row_unit;
  const std::uint64_t row_bytes = impl.header.geometry.row_bytes;
  std::byte* slot = impl.rows.data() + row * stride;
  if (stride == row_bytes) {
    std::memcpy(slot, src, row_bytes);
    return;
  }
  const std::uint64_t size = impl.codec->encode(src, encoded.data());
  const std::uint64_t tail_bytes = packing::tail_bytes_for(size, stride);
  std::uint64_t tail_offset = had.tail_offset;
  if (tail_bytes > had.tail_bytes) {
    tail_offset = impl.overflow.size();
    impl.overflow.resize(tail_offset + tail_bytes);
    impl.unused_overflow_bytes += had.tail_bytes;
  } else {
    impl.unused_overflow_bytes += had.tail_bytes - tail_bytes;
  }
  packing::fill_slot(slot, stride, Bytes(encoded).first(size), size == row_bytes, tail_offset);
  if (tail_bytes > 0) std::memcpy(impl.overflow.data() + tail_offset, encoded.data() + size - tail_bytes, tail_bytes);
  impl.header.overflow_bytes = impl.overflow.size();
}

/// Makes room for the tails of these rows, so that storing them cannot run out of memory half-way.
void reserve_tails(CompressedTensor::Impl& impl, Bytes rows) {
  const std::uint64_t row_bytes = impl.header.geometry.row_bytes;
  if (impl.header.row_unit == row_bytes) return;
  std::uint64_t tail_bytes = 0;
  for (std::uint64_t offset = 0; offset < rows.size(); offset += row_bytes) {
    std::uint32_t size = 0;
    impl.codec->measure(rows.data() + offset, 1, &size);
    tail_bytes += packing::tail_bytes_for(size, impl.header.row_unit);
  }
  const std::uint64_t wanted = impl.overflow.size() + tail_bytes;
  if (tail_bytes > 0) impl.overflow.reserve(std::max(wanted, impl.overflow.size() + impl.overflow.size() / 2));
}

template <class Index>
Result<void> update_rows(CompressedTensor::Impl& impl, std::span<const Index> index, Bytes rows) {
  STILLBIT_CHECK(check_mutable(impl));
  const RowGeometry& geometry = impl.header.geometry;
  const auto wanted = checked_mul(index.size(), geometry.row_bytes);
  if (!wanted || *wanted != rows.size()) {
    return invalid(std::to_string(index.size()) + " rows of " + std::to_string(geometry.row_bytes) +
                   " bytes were named, " + std::to_string(rows.size()) + " bytes given");
  }
  STILLBIT_CHECK(check_indices(index, geometry.num_rows));
  if (rows.empty()) return {};
  reserve_tails(impl, rows);
  std::vector<std::byte> encoded(geometry.row_bytes + RowCodec::kSlack);
  impl.is_unchanged = false;
  for (std::size_t i = 0; i < index.size(); ++i) {
    const auto row = static_cast<std::uint64_t>(index[i]);
    const std::uint64_t stride = impl.header.row_unit;
    const auto had =
        stride == geometry.row_bytes ? packing::SlotTrailer{0, 0} : tail_of(impl.rows.data() + row * stride, stride);
    store_row(impl, row, rows.data() + i * geometry.row_bytes, had, encoded);
  }
  return {};
}

Result<void> append_rows(CompressedTensor::Impl& impl, Bytes rows) {
  STILLBIT_CHECK(check_mutable(impl));
  format::PayloadHeader& header = impl.header;
  const std::size_t num_outer = header.shape.size() - header.row_dims;
  if (num_outer == 0) return invalid("a tensor that is one row has no dimension to append to");
  std::uint64_t rows_per_step = 1;
  for (std::size_t i = 1; i < num_outer; ++i) rows_per_step *= header.shape[i];
  const std::uint64_t step_bytes = rows_per_step * header.geometry.row_bytes;
  if (rows.empty()) return {};
  if (step_bytes == 0 || rows.size() % step_bytes != 0) {
    return invalid(std::to_string(rows.size()) + " bytes are no whole number of steps of " +
                   std::to_string(step_bytes) + " bytes along the first dimension of shape " + to_string(header.shape));
  }
  std::vector<std::uint64_t> shape = header.shape;
  shape[0] += rows.size() / step_bytes;
  STILLBIT_TRY(const RowGeometry geometry, row_geometry(header.dtype, shape, header.row_dims));

  std::vector<std::byte> encoded(geometry.row_bytes + RowCodec::kSlack);
  const std::uint64_t first = header.geometry.num_rows;
  reserve_tails(impl, rows);
  impl.rows.resize(geometry.num_rows * header.row_unit);
  for (std::uint64_t row = first; row < geometry.num_rows; ++row) {
    store_row(impl, row, rows.data() + (row - first) * geometry.row_bytes, {0, 0}, encoded);
  }
  header.shape = std::move(shape);
  header.geometry = geometry;
  header.rows_bytes = impl.rows.size();
  impl.is_unchanged = false;
  return {};
}

void compact_if_wasteful(CompressedTensor::Impl& impl) {
  const bool is_wasteful =
      impl.unused_overflow_bytes > kMinUnusedBytes && impl.unused_overflow_bytes > impl.overflow.size() / 2;
  if (!is_wasteful) return;
  try {
    compact_overflow(impl);
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
    // The rows are updated: that there is no memory to tidy up is no reason to fail.
  }
}

}  // namespace

std::uint64_t total_tail_bytes(const CompressedTensor::Impl& impl) {
  const std::uint64_t stride = impl.header.row_unit;
  if (stride == impl.header.geometry.row_bytes) return 0;
  std::uint64_t total = 0;
  for (std::uint64_t row = 0; row < impl.header.geometry.num_rows; ++row) {
    total += tail_of(impl.rows.data() + row * stride, stride).tail_bytes;
  }
  return total;
}

void compact_overflow(CompressedTensor::Impl& impl) {
  const std::uint64_t stride = impl.header.row_unit;
  const std::uint64_t num_rows = impl.header.geometry.num_rows;
  if (stride == impl.header.geometry.row_bytes) return;
  std::byte* const slots = impl.rows.data();
  Buffer compacted(total_tail_bytes(impl));
  std::uint64_t end = 0;
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    std::byte* slot = slots + row * stride;
    const packing::SlotTrailer tail = tail_of(slot, stride);
    if (tail.tail_bytes == 0) continue;
    std::memcpy(compacted.data() + end, impl.overflow.data() + tail.tail_offset, tail.tail_bytes);
    store(slot + packing::slot_head_bytes(stride), end);
    end += tail.tail_bytes;
  }
  impl.overflow = std::move(compacted);
  impl.header.overflow_bytes = end;
  impl.unused_overflow_bytes = 0;
}

void CompressedTensor::update(std::span<const std::int64_t> index, std::span<const std::byte> rows) {
  unwrap(update_rows(*impl_, index, rows));
  compact_if_wasteful(*impl_);
}

void CompressedTensor::update(std::span<const std::int32_t> index, std::span<const std::byte> rows) {
  unwrap(update_rows(*impl_, index, rows));
  compact_if_wasteful(*impl_);
}

void CompressedTensor::append(std::span<const std::byte> rows) {
  unwrap(append_rows(*impl_, rows));
}

void CompressedTensor::compact() {
  unwrap(check_mutable(*impl_));
  compact_overflow(*impl_);
}

}  // namespace stillbit
