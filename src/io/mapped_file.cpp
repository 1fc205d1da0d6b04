#include "io/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace stillbit::io {

Fault io_fault(const std::filesystem::path& path, const char* action, int error_number) {
  return {ErrorCode::kIo, path.string() + ": cannot " + action + ": " + std::generic_category().message(error_number)};
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_fault(path, "open", errno);
  auto mapped = map(fd, path);
  ::close(fd);
  return mapped;
}

Result<MappedFile> MappedFile::map(int descriptor, const std::filesystem::path& shown) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return io_fault(shown, "stat", errno);
  if (!S_ISREG(status.st_mode)) return Fault{ErrorCode::kIo, shown.string() + ": not a regular file"};
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return MappedFile();
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) return io_fault(shown, "map", errno);
  const Bytes bytes(static_cast<const std::byte*>(address), size);
  advise(bytes, Access::kRandom);
  return MappedFile(bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void advise(Bytes mapped, Access access) noexcept {
  if (mapped.empty()) return;
  const int advice = access == Access::kRandom ? MADV_RANDOM : MADV_SEQUENTIAL;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(mapped.data()) + mapped.size();
  ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

void release_pages(Bytes bytes) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<std::string> read_text(const std::filesystem::path& path) {
  STILLBIT_TRY(const MappedFile file, MappedFile::open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

}  // namespace stillbit::io
