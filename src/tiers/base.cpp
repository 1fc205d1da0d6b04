#include "tiers/base.hpp"

#include "io/mapped_file.hpp"
#include "packings/slot.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

namespace stillbit::tiers {
namespace {

Buffer copy_of(const Buffer& from) {
  Buffer copy(from.size());
  if (from.size() > 0) std::memcpy(copy.data(), from.data(), from.size());
  return copy;
}

}  // namespace

CompressedTensor copy_of(const CompressedTensor& tensor) {
  const CompressedTensor::Impl& from = tensor.impl();
  if (!from.mapped.empty()) return share_mapped(tensor);
  auto impl = std::make_unique<CompressedTensor::Impl>();
  impl->header = from.header;
  impl->codec = from.codec;
  impl->prices = from.prices;
  impl->map = copy_of(from.map);
  impl->index = copy_of(from.index);
  impl->rows = copy_of(from.rows);
  impl->overflow = copy_of(from.overflow);
  impl->is_unchanged = from.is_unchanged;
  impl->unused_overflow_bytes = from.unused_overflow_bytes;
  return CompressedTensor(std::move(impl));
}

FileGuard::FileGuard(FileGuard&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), status_(other.status_), path_(std::move(other.path_)) {}

FileGuard& FileGuard::operator=(FileGuard&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(status_, other.status_);
  std::swap(path_, other.path_);
  return *this;
}

FileGuard::~FileGuard() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<FileGuard> FileGuard::open(const std::filesystem::path& path) {
  FileGuard guard;
  guard.path_ = path;
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  guard.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (guard.descriptor_ < 0) return io::io_fault(path, "open", errno);
  if (::fstat(guard.descriptor_, &guard.status_) != 0) return io::io_fault(path, "stat", errno);
  return guard;
}

Result<void> FileGuard::check() const {
  if (descriptor_ < 0) return {};
  struct stat now{};
  if (::fstat(descriptor_, &now) != 0) return io::io_fault(path_, "stat", errno);
  if (now.st_size != status_.st_size) {
    return Fault{ErrorCode::kIo, path_.string() + ": the file had " + std::to_string(status_.st_size) +
                                     " bytes when it was mapped, and has " + std::to_string(now.st_size)};
  }
  if (now.st_mtim.tv_sec != status_.st_mtim.tv_sec || now.st_mtim.tv_nsec != status_.st_mtim.tv_nsec)
    return Fault{ErrorCode::kIo, path_.string() + ": the file was written to since it was mapped"};
  return {};
}

std::uint64_t Base::memory_bytes() const noexcept {
  if (is_mapped()) return 0;
  const CompressedTensor::Impl& impl = tensor.impl();
  const auto sizes = format::layout_of(impl.header).size;
  return std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0}) - impl.overflow.size() +
         impl.overflow.capacity();
}

std::uint64_t Base::memory_bytes_with(Bytes rows) const {
  const CompressedTensor::Impl& impl = tensor.impl();
  const std::uint64_t row_bytes = impl.header.geometry.row_bytes;
  if (impl.header.row_unit == row_bytes) return memory_bytes();
  std::uint64_t tail_bytes = 0;
  for (std::uint64_t offset = 0; offset < rows.size(); offset += row_bytes) {
    std::uint32_t size = 0;
    impl.codec->measure(rows.data() + offset, 1, &size);
    tail_bytes += packing::tail_bytes_for(size, impl.header.row_unit);
  }
  if (tail_bytes == 0) return memory_bytes();
  const std::uint64_t size = impl.overflow.size();
  const std::uint64_t capacity = impl.overflow.capacity();
  return memory_bytes() - capacity + std::max({capacity, size + tail_bytes, size + size / 2});
}

double Base::mean_stored_bytes() const noexcept {
  const format::PayloadHeader& header = tensor.impl().header;
  if (header.geometry.num_rows == 0) return 0;
  return static_cast<double>(header.rows_bytes + header.overflow_bytes) / static_cast<double>(header.geometry.num_rows);
}

}  // namespace stillbit::tiers
