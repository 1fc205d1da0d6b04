// Files that are written chunk by chunk.

#include "api/encoder.hpp"
#include "files/file_writer.hpp"
#include "files/narrow_index.hpp"
#include "api/plan.hpp"
#include "files/tensor_file.hpp"
#include "core/checked.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"

#include <stillbit/stream.hpp>

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

namespace stillbit {
namespace {

using format::Section;

/// What is encoded in one go, on all threads: long against the start of a thread.
constexpr std::uint64_t kPartBytes = std::uint64_t{16} << 20;

/// What a tensor's line in the header may grow by once its size is known: three numbers, and another codec's name.
constexpr std::uint64_t kHeaderSlack = 96;

/// From one part in so many on, bytes are worth the time to move all rows of a payload in the file.
constexpr std::uint64_t kWorthwhileShare = 200;

/// A header by which rows can be written before their sizes are known.
void make_room_for_any_row(format::PayloadHeader& header, std::uint64_t minimum_tile_bytes) {
  if (header.packing == Packing::kSlotted || header.codec == Codec::kRaw) return;
  header.row_unit = minimum_tile_bytes;
  const std::uint64_t largest_delta = (format::kIndexBlockTiles - 1) * (header.tile_bytes - minimum_tile_bytes);
  header.index_bits = static_cast<std::uint8_t>(std::bit_width(largest_delta | 1));
  header.index_bytes = format::index_bytes_for(header.stored_tiles().num_rows, header.index_bits);
}

}  // namespace

struct StreamWriter::Impl {
  /// A tensor, from its declaration on.
  struct Declared {
    std::shared_ptr<const Plan::Impl> plan;
    format::PayloadHeader raw;  ///< of the same rows as they are
    bool is_raw = false;
  };

  std::filesystem::path path;
  std::map<std::string, std::string> metadata;
  unsigned num_threads;
  Progress progress;
  std::unique_ptr<io::AtomicFile> file;
  std::uint64_t data_offset = 0;
  std::vector<FileWriter::Tensor> tensors;
  std::vector<Declared> declared;

  // Of the tensor that is being written.
  std::size_t current = 0;
  bool is_begun = false;
  std::uint64_t payload_offset = 0;
  std::uint64_t num_written = 0;  ///< bytes of the tensor
  PartPlace place;
  std::vector<std::byte> rest;  ///< the start of a part that is not whole yet
  std::unique_ptr<cpu::RunningChecksum> checksum;

  [[nodiscard]] format::PayloadHeader& header() { return tensors[current].header; }
  Result<void> open();
  Result<void> begin();
  Result<void> write(Bytes entries);
  Result<void> write_parts(Bytes bytes, bool is_last);
  Result<bool> end();
  Result<void> fit_index();
  Result<void> commit();
  [[nodiscard]] std::uint64_t part_bytes();
  [[nodiscard]] Fault other_data(const std::string& what) const;
};

Fault StreamWriter::Impl::other_data(const std::string& what) const {
  return {ErrorCode::kMismatch, "the second pass has other data than the first: " + what};
}

/// Reserves the header: it is written last, but lies first.
Result<void> StreamWriter::Impl::open() {
  STILLBIT_TRY(const FileWriter::Layout layout, FileWriter::lay_out(tensors, metadata));
  STILLBIT_TRY(const std::string text, format::serialize_safetensors(layout.header, FileWriter::kDataAlignment));
  data_offset = align_up(text.size() + kHeaderSlack * tensors.size(), FileWriter::kDataAlignment);
  payload_offset = data_offset;
  STILLBIT_TRY(io::AtomicFile created, io::AtomicFile::create(path));
  file = std::make_unique<io::AtomicFile>(std::move(created));
  return {};
}

Result<void> StreamWriter::Impl::begin() {
  if (is_begun) return invalid("the tensor before was not ended");
  if (current == declared.size()) return invalid("no tensor is left to be written");
  if (!file) STILLBIT_CHECK(open());
  const Declared& tensor = declared[current];
  if (tensor.is_raw) header() = tensor.raw;
  is_begun = true;
  num_written = 0;
  place = {};
  rest.clear();
  checksum = std::make_unique<cpu::RunningChecksum>();
  return {};
}

/// Whole index blocks of tiles, so that parts follow each other in the index.
std::uint64_t StreamWriter::Impl::part_bytes() {
  const bool has_slots = header().packing == Packing::kSlotted;
  const std::uint64_t unit = header().tile_bytes * (has_slots ? 1 : format::kIndexBlockTiles);
  return ceil_div(kPartBytes, unit) * unit;
}

Result<void> StreamWriter::Impl::write(Bytes entries) {
  if (!is_begun) return invalid("no tensor was begun");
  if (num_written + entries.size() > header().geometry.num_bytes()) return other_data("there are more rows");
  checksum->add(entries, num_threads);
  num_written += entries.size();
  if (header().codec == Codec::kRaw) {
    FileSink sink(*file, layout_of(header()), payload_offset);
    STILLBIT_CHECK(sink.write(Section::kRows, num_written - entries.size(), entries));
    if (progress) progress(entries.size());
    return {};
  }
  if (!rest.empty()) {
    const std::uint64_t count = std::min<std::uint64_t>(part_bytes() - rest.size(), entries.size());
    rest.insert(rest.end(), entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(count));
    entries = entries.subspan(count);
    if (rest.size() < part_bytes()) return {};
    STILLBIT_CHECK(write_parts(rest, false));
    rest.clear();
  }
  const std::uint64_t num_whole = entries.size() / part_bytes() * part_bytes();
  STILLBIT_CHECK(write_parts(entries.first(num_whole), false));
  const Bytes left = entries.subspan(num_whole);
  rest.assign(left.begin(), left.end());
  return {};
}

/// Encodes whole parts, or what is left at the tensor's end.
Result<void> StreamWriter::Impl::write_parts(Bytes bytes, bool is_last) {
  CompressOptions options;
  options.num_threads = num_threads;
  options.progress = progress;
  FileSink sink(*file, layout_of(header()), payload_offset);
  while (!bytes.empty()) {
    const Bytes part = is_last ? bytes : bytes.first(part_bytes());
    const Source source{part, header().dtype, {}, false};
    STILLBIT_TRY(place, Encoder::write_part(source, header(), declared[current].plan->codec, place, options, sink));
    bytes = bytes.subspan(part.size());
  }
  return {};
}

Result<bool> StreamWriter::Impl::end() {
  if (!is_begun) return invalid("no tensor was begun");
  const std::uint64_t num_bytes = header().geometry.num_bytes();
  if (num_written < num_bytes) {
    const std::uint64_t entry_bytes = num_bytes / header().shape[0];
    return other_data("there are " + std::to_string(num_written / entry_bytes) + " entries, not " +
                      std::to_string(header().shape[0]));
  }
  if (checksum->value() != header().data_checksum) return other_data("its checksum differs");
  STILLBIT_CHECK(write_parts(rest, true));
  rest.clear();
  is_begun = false;
  if (header().codec != Codec::kRaw) {
    if (header().packing == Packing::kPacked) {
      header().rows_bytes = place.rows_offset;
      STILLBIT_CHECK(fit_index());
    } else {
      header().overflow_bytes = place.overflow_offset;
    }
    if (layout_of(header()).payload_bytes > layout_of(declared[current].raw).payload_bytes) {
      declared[current].is_raw = true;
      return false;
    }
    FileSink sink(*file, layout_of(header()), payload_offset);
    STILLBIT_CHECK(sink.write(Section::kPlan, 0, declared[current].plan->codec->plan()));
  }
  STILLBIT_CHECK(finish_payload(*file, payload_offset, header(), num_threads));
  payload_offset += layout_of(header()).payload_bytes;
  ++current;
  return true;
}

/// Takes back the room that the index has for rows that did not come, where that is much of the file.
Result<void> StreamWriter::Impl::fit_index() {
  format::PayloadHeader narrow = header();
  packing::PackedSizes sizes;
  sizes.num_bytes = place.rows_offset;
  sizes.largest_delta = place.largest_delta;
  sizes.describe(narrow, narrow.row_unit);
  const std::uint64_t saved_bytes = header().index_bytes - narrow.index_bytes;
  if (saved_bytes * kWorthwhileShare < layout_of(narrow).payload_bytes) return {};
  STILLBIT_CHECK(narrow_index(*file, payload_offset, header(), narrow));
  header() = std::move(narrow);
  return {};
}

Result<void> StreamWriter::Impl::commit() {
  if (is_begun || current < declared.size()) return invalid(quoted_tensor(tensors[current].name) + " was not written");
  if (!file) STILLBIT_CHECK(open());
  STILLBIT_TRY(const FileWriter::Layout layout, FileWriter::lay_out(tensors, metadata));
  STILLBIT_TRY(const std::string text, format::serialize_safetensors(layout.header, data_offset));
  STILLBIT_CHECK(file->write(0, std::as_bytes(std::span(text))));
  STILLBIT_CHECK(file->resize(data_offset + layout.data_bytes));
  return file->commit();
}

StreamWriter::StreamWriter(std::filesystem::path path, std::map<std::string, std::string> metadata,
                           unsigned num_threads, Progress progress)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->metadata = std::move(metadata);
  impl_->num_threads = cpu::resolve_threads(num_threads);
  impl_->progress = std::move(progress);
}

StreamWriter::StreamWriter(StreamWriter&&) noexcept = default;
StreamWriter& StreamWriter::operator=(StreamWriter&&) noexcept = default;
StreamWriter::~StreamWriter() = default;

void StreamWriter::declare(const std::string& name, const RowScan& scan, const Plan& plan) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kInvalidArgument, quoted_tensor(name) + ": " + why);
  };
  if (impl_->file) refuse("the first tensor was begun already");
  const bool is_taken = std::any_of(impl_->tensors.begin(), impl_->tensors.end(),
                                    [&](const FileWriter::Tensor& tensor) { return tensor.name == name; });
  if (is_taken) refuse("is given twice");
  if (!impl_->tensors.empty() && impl_->tensors[0].header.packing != plan.packing())
    refuse("its plan packs rows otherwise than that of the tensor before");

  format::PayloadHeader header;
  header.dtype = scan.dtype();
  header.shape = scan.shape();
  header.row_dims = static_cast<std::uint8_t>(scan.row_dims());
  header.packing = plan.packing();
  header.data_checksum = scan.checksum();
  header.geometry = unwrap(row_geometry(header.dtype, header.shape, header.row_dims));
  header.tile_bytes = header.geometry.row_bytes;
  unwrap_in(impl_->path, name, check_rows(plan.impl(), header.dtype, std::span(header.shape).last(header.row_dims)));
  const format::PayloadHeader raw = planner::price_raw(header).header;
  if (plan.codec() == Codec::kRaw || plan.tile_bytes() > header.geometry.num_bytes()) {
    header = raw;
  } else {
    header.codec = plan.codec();
    header.plan_bytes = plan.plan_bytes();
    header.tile_bytes = plan.tile_bytes();
    header.row_unit = plan.stride();
    make_room_for_any_row(header, plan.impl().codec->minimum_row_bytes());
    header.rows_bytes = header.stored_tiles().num_rows * header.row_unit;
  }
  impl_->tensors.push_back({name, FileWriter::payload_name(name), header, plan.prices()});
  impl_->declared.push_back({plan.shared(), raw, false});
}

void StreamWriter::begin() {
  unwrap_in(impl_->path, impl_->begin());
}

void StreamWriter::write(std::span<const std::byte> entries) {
  const auto written = impl_->write(entries);
  if (!written.ok()) unwrap_in(impl_->path, impl_->tensors[impl_->current].name, written);
}

bool StreamWriter::end() {
  const std::size_t i = impl_->current;
  auto ended = impl_->end();
  if (!ended.ok()) unwrap_in(impl_->path, impl_->tensors[i].name, Result<void>(ended.fault()));
  return ended.value();
}

void StreamWriter::commit() {
  unwrap_in(impl_->path, impl_->commit());
}

}  // namespace stillbit
