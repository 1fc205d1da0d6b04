#include "api/compressed_tensor.hpp"

#include "api/bulk_access.hpp"
#include "api/encoder.hpp"
#include "api/registry.hpp"
#include "api/section_buffers.hpp"
#include "core/checked.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"

#include <algorithm>

namespace stillbit {
namespace {

using format::Section;

SectionBuffers buffers_of(CompressedTensor::Impl& impl) {
  return {impl.map, impl.index, impl.rows, impl.overflow};
}

Result<std::unique_ptr<CompressedTensor::Impl>> open_header(Bytes payload) {
  STILLBIT_TRY(format::Payload parsed, format::parse_payload(payload));
  auto impl = std::make_unique<CompressedTensor::Impl>();
  STILLBIT_TRY(impl->codec, open_codec(parsed.header.codec, parsed.plan, parsed.header.tiles().row_bytes));
  impl->header = std::move(parsed.header);
  return impl;
}

Result<void> check_output(const format::PayloadHeader& header, std::uint64_t num_rows, std::uint64_t num_bytes) {
  const auto wanted = checked_mul(num_rows, header.geometry.row_bytes);
  if (wanted && *wanted == num_bytes) return {};
  return invalid(std::to_string(num_rows) + " rows take " + std::to_string(num_rows) + " × " +
                 std::to_string(header.geometry.row_bytes) + " bytes, the memory given has " +
                 std::to_string(num_bytes));
}

}  // namespace

format::Payload CompressedTensor::Impl::sections() const {
  format::Payload payload{header, mapped, codec->plan(), map.view(), index.view(), rows.view(), overflow.view()};
  if (!mapped.empty()) {
    const format::PayloadLayout layout = layout_of(header);
    const auto section = [&](Section which) {
      const auto i = static_cast<std::size_t>(which);
      return mapped.subspan(layout.offset[i], layout.size[i]);
    };
    payload.map = section(Section::kMap);
    payload.index = section(Section::kIndex);
    payload.rows = section(Section::kRows);
    payload.overflow = section(Section::kOverflow);
  }
  return payload;
}

packing::RowReader CompressedTensor::Impl::reader() const {
  const format::Payload payload = sections();
  // Behind the rows there is the rest of the payload, or the slack of a buffer.
  const std::uint64_t slack =
      mapped.empty()
          ? rows.slack()
          : static_cast<std::uint64_t>(mapped.data() + mapped.size() - payload.rows.data()) - payload.rows.size();
  return {header, payload.map, payload.index, payload.rows, payload.overflow, slack};
}

Result<void> check_payload(Bytes payload, std::uint64_t payload_checksum, unsigned num_threads) {
  if (cpu::checksum(payload.subspan(format::kChecksummedFrom), cpu::resolve_threads(num_threads)) == payload_checksum)
    return {};
  return corrupt("the stored bytes do not have their checksum");
}

Result<CompressedTensor> open_mapped(Bytes payload, std::shared_ptr<const void> mapping,
                                     std::vector<CodecPrice> prices) {
  STILLBIT_TRY(auto impl, open_header(payload));
  impl->prices = std::move(prices);
  impl->mapped = payload;
  impl->mapping = std::move(mapping);
  return CompressedTensor(std::move(impl));
}

CompressedTensor share_mapped(const CompressedTensor& tensor) {
  const CompressedTensor::Impl& from = tensor.impl();
  auto impl = std::make_unique<CompressedTensor::Impl>();
  impl->header = from.header;
  impl->codec = from.codec;
  impl->prices = from.prices;
  impl->mapped = from.mapped;
  impl->mapping = from.mapping;
  return CompressedTensor(std::move(impl));
}

Result<CompressedTensor> open_copied(Bytes payload, unsigned num_threads) {
  STILLBIT_TRY(auto impl, open_header(payload));
  STILLBIT_CHECK(check_payload(payload, impl->header.payload_checksum, num_threads));
  impl->mapped = payload;
  const format::Payload sections = impl->sections();
  BufferSink sink(buffers_of(*impl));
  sink.renew(impl->header);
  STILLBIT_CHECK(sink.write(Section::kMap, 0, sections.map));
  STILLBIT_CHECK(sink.write(Section::kIndex, 0, sections.index));
  STILLBIT_CHECK(sink.write(Section::kRows, 0, sections.rows));
  STILLBIT_CHECK(sink.write(Section::kOverflow, 0, sections.overflow));
  impl->mapped = {};
  STILLBIT_CHECK(with_decoder(*impl, [&](const Decoder& decoder) {
    return decoder.expand_verified(num_threads, [](std::uint64_t, Bytes) { return Result<void>(); });
  }));
  if (impl->header.packing == Packing::kSlotted) {
    // Slots that share tails, which rows that are to be rewritten must not, get tails of their own. Where the sum says
    // that they overlap on a large scale it is no writer's work, and could take any amount of memory.
    if (total_tail_bytes(*impl) > impl->header.overflow_bytes) return corrupt("the tails of slots overlap");
    compact_overflow(*impl);
  }
  return CompressedTensor(std::move(impl));
}

namespace {

/// Compresses into the buffers of `impl`, whatever they hold.
CompressedTensor compress_into(std::unique_ptr<CompressedTensor::Impl> impl, const TensorView& tensor,
                               const CompressOptions& options) {
  const auto geometry = unwrap(row_geometry(tensor.dtype, tensor.shape, 0));
  const Source source{Bytes(static_cast<const std::byte*>(tensor.data), geometry.num_bytes()), tensor.dtype,
                      tensor.shape, false};
  const Encoder encoder = unwrap(Encoder::encode(source, options, buffers_of(*impl)));
  impl->header = encoder.header();
  impl->codec = encoder.codec();
  impl->prices = encoder.prices();
  return CompressedTensor(std::move(impl));
}

}  // namespace

CompressedTensor compress(const TensorView& tensor, const CompressOptions& options) {
  return compress_into(std::make_unique<CompressedTensor::Impl>(), tensor, options);
}

CompressedTensor compress(const TensorView& tensor, const CompressOptions& options, CompressedTensor&& reuse) {
  auto impl = CompressedTensor::release(std::move(reuse));
  impl->mapped = {};
  impl->mapping.reset();
  impl->is_unchanged = true;
  impl->unused_overflow_bytes = 0;
  return compress_into(std::move(impl), tensor, options);
}

std::unique_ptr<CompressedTensor::Impl> CompressedTensor::release(CompressedTensor&& tensor) noexcept {
  return std::move(tensor.impl_);
}

CompressedTensor::CompressedTensor(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
CompressedTensor::CompressedTensor(CompressedTensor&&) noexcept = default;
CompressedTensor& CompressedTensor::operator=(CompressedTensor&&) noexcept = default;
CompressedTensor::~CompressedTensor() = default;

DType CompressedTensor::dtype() const noexcept {
  return impl_->header.dtype;
}
const std::vector<std::uint64_t>& CompressedTensor::shape() const noexcept {
  return impl_->header.shape;
}
std::uint64_t CompressedTensor::num_rows() const noexcept {
  return impl_->header.geometry.num_rows;
}
std::uint64_t CompressedTensor::row_bytes() const noexcept {
  return impl_->header.geometry.row_bytes;
}
unsigned CompressedTensor::row_dims() const noexcept {
  return impl_->header.row_dims;
}
Codec CompressedTensor::codec() const noexcept {
  return impl_->header.codec;
}
Packing CompressedTensor::packing() const noexcept {
  return impl_->header.packing;
}
std::uint64_t CompressedTensor::raw_bytes() const noexcept {
  return impl_->header.geometry.num_bytes();
}
std::uint64_t CompressedTensor::stored_bytes() const noexcept {
  return layout_of(impl_->header).payload_bytes;
}
std::uint64_t CompressedTensor::metadata_bytes() const noexcept {
  return stored_bytes() - impl_->header.rows_bytes - impl_->header.overflow_bytes;
}

double CompressedTensor::ratio() const noexcept {
  return static_cast<double>(raw_bytes()) / static_cast<double>(stored_bytes());
}

double CompressedTensor::transfer_ratio() const {
  constexpr std::uint64_t kMaxSampled = 65536;
  constexpr std::uint64_t kRowsPerRelease = 1024;
  const RowGeometry& geometry = impl_->header.geometry;
  if (geometry.num_bytes() == 0) return 1.0;
  format::PayloadHeader raw = impl_->header;
  raw.packing = Packing::kPacked;
  raw.index_bits = 0;
  raw.row_unit = geometry.row_bytes;
  raw.tile_bytes = geometry.row_bytes;
  raw.num_repeats = 0;
  const packing::RowReader raw_reader(raw, {}, {}, {}, {}, 0);
  const packing::RowReader reader = impl_->reader();
  std::uint64_t raw_sectors = 0;
  std::uint64_t sectors = 0;
  const std::uint64_t count = std::min(geometry.num_rows, kMaxSampled);
  for (std::uint64_t i = 0; i < count; ++i) {
    // Neither product overflows: the step is taken apart.
    const std::uint64_t row = geometry.num_rows / count * i + geometry.num_rows % count * i / count;
    raw_sectors += raw_reader.num_sectors(row);
    const std::uint64_t first_tile = row * geometry.row_bytes / impl_->header.tile_bytes;
    const std::uint64_t num_tiles = ((row + 1) * geometry.row_bytes - 1) / impl_->header.tile_bytes - first_tile + 1;
    const std::uint64_t step = ceil_div(num_tiles, kMaxSampled / count);
    for (std::uint64_t tile = 0; tile < num_tiles; tile += step)
      sectors += step * reader.num_sectors(reader.stored(first_tile + tile));
    // Each page that is touched brings up to 15 others with it: together they would be the whole of a large file.
    if (i % kRowsPerRelease == kRowsPerRelease - 1) io::release_pages(impl_->mapped);
  }
  return sectors == 0 ? static_cast<double>(raw_sectors)
                      : static_cast<double>(raw_sectors) / static_cast<double>(sectors);
}

TensorInfo CompressedTensor::info() const {
  return {{},          dtype(),        shape(),          codec(),          packing(),
          raw_bytes(), stored_bytes(), metadata_bytes(), transfer_ratio(), impl_->prices};
}

void CompressedTensor::decompress(std::span<std::byte> out, unsigned num_threads) const {
  unwrap(check_output(impl_->header, num_rows(), out.size()));
  const BulkAccess bulk(impl_->mapped);
  unwrap(with_decoder(*impl_, [&](const Decoder& decoder) { return decoder.expand(out.data(), num_threads); }));
}

void CompressedTensor::decompress_verified(std::span<std::byte> out, unsigned num_threads) const {
  if (!impl_->is_unchanged) return decompress(out, num_threads);
  unwrap(check_output(impl_->header, num_rows(), out.size()));
  const BulkAccess bulk(impl_->mapped);
  unwrap(
      with_decoder(*impl_, [&](const Decoder& decoder) { return decoder.expand_verified(out.data(), num_threads); }));
}

void CompressedTensor::gather(std::span<const std::int64_t> index, std::span<std::byte> out,
                              unsigned num_threads) const {
  unwrap(check_output(impl_->header, index.size(), out.size()));
  unwrap(with_decoder(*impl_, [&](const Decoder& decoder) { return decoder.gather(index, out.data(), num_threads); }));
}

void CompressedTensor::gather(std::span<const std::int32_t> index, std::span<std::byte> out,
                              unsigned num_threads) const {
  unwrap(check_output(impl_->header, index.size(), out.size()));
  unwrap(with_decoder(*impl_, [&](const Decoder& decoder) { return decoder.gather(index, out.data(), num_threads); }));
}

void CompressedTensor::verify_stored(unsigned num_threads) const {
  const BulkAccess bulk(impl_->mapped);
  if (!impl_->mapped.empty()) unwrap(check_payload(impl_->mapped, impl_->header.payload_checksum, num_threads));
}

void CompressedTensor::verify(unsigned num_threads) const {
  const Impl& impl = *impl_;
  const BulkAccess bulk(impl.mapped);
  verify_stored(num_threads);
  unwrap(with_decoder(impl, [&](const Decoder& decoder) -> Result<void> {
    const auto ignore = [](std::uint64_t, Bytes) { return Result<void>(); };
    if (impl.is_unchanged) return decoder.expand_verified(num_threads, ignore);
    STILLBIT_TRY([[maybe_unused]] const std::uint64_t checksum, decoder.expand_in_pieces(num_threads, ignore));
    return {};
  }));
}

}  // namespace stillbit
