#include "io/atomic_file.hpp"

#include "io/mapped_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>
#include <utility>

namespace stillbit::io {
namespace {

std::filesystem::path directory_of(const std::filesystem::path& target) {
  return target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
}

/// A name beside the target that is not taken, as far as anyone can tell before trying.
std::filesystem::path temporary_name(const std::filesystem::path& target) {
  std::random_device random;
  // A name may have 255 bytes: a long one is not needed whole to be told apart.
  const std::string start = target.filename().string().substr(0, 200);
  return directory_of(target) / ("." + start + "." + std::to_string(random()) + ".tmp");
}

int open_unnamed(const std::filesystem::path& target) {
  return ::open(directory_of(target).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& target) {
  std::error_code ignored;
  if (std::filesystem::exists(target, ignored) && !std::filesystem::is_regular_file(target, ignored)) {
    return Fault{ErrorCode::kIo, target.string() + ": cannot write: not a regular file"};
  }
  // Replace what a link points to, not the link, also when it points to nothing yet.
  auto resolved = target;
  for (int links = 0; std::filesystem::is_symlink(resolved, ignored); ++links) {
    if (links == 40) return io_fault(target, "create", ELOOP);
    const auto next = std::filesystem::read_symlink(resolved, ignored);
    resolved = next.is_absolute() ? next : directory_of(resolved) / next;
  }
  if (const int fd = open_unnamed(resolved); fd >= 0) return AtomicFile(resolved, {}, fd);
  for (int attempt = 0; attempt < 100; ++attempt) {
    const auto temporary = temporary_name(resolved);
    const int fd = ::open(temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    if (fd >= 0) return AtomicFile(resolved, temporary, fd);
    if (errno != EEXIST) return io_fault(target, "create", errno);
  }
  return io_fault(target, "create", EEXIST);
}

Result<AtomicFile> AtomicFile::adopt(int descriptor) {
  const std::filesystem::path shown = "file descriptor " + std::to_string(descriptor);
  const int fd = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return io_fault(shown, "write", errno);
  AtomicFile file(shown, {}, fd);
  file.is_adopted_ = true;
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      is_adopted_(other.is_adopted_) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> AtomicFile::set_size(std::uint64_t num_bytes) {
  if (num_bytes == 0) return {};
  const int error_number = ::posix_fallocate(fd_, 0, static_cast<off_t>(num_bytes));
  // Some file systems cannot reserve; a full disk is then found while writing.
  if (error_number == 0 || error_number == EOPNOTSUPP || error_number == EINVAL) return {};
  return io_fault(target_, "write", error_number);
}

Result<void> AtomicFile::resize(std::uint64_t num_bytes) {
  if (::ftruncate(fd_, static_cast<off_t>(num_bytes)) != 0) return io_fault(target_, "write", errno);
  return {};
}

Result<void> AtomicFile::write(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_fault(target_, "write", errno);
    if (written == 0) return io_fault(target_, "write", ENOSPC);
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> AtomicFile::read(std::uint64_t offset, MutableBytes bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return io_fault(target_, "read back", count < 0 ? errno : EIO);
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> AtomicFile::commit() {
  if (is_adopted_) return {};
  struct stat replaced{};
  if (::stat(target_.c_str(), &replaced) == 0 && ::fchmod(fd_, replaced.st_mode & 0777) != 0) {
    return io_fault(target_, "set the permissions of", errno);
  }
  if (::fsync(fd_) != 0) return io_fault(target_, "flush", errno);
  if (temporary_.empty()) {
    // linkat cannot replace a file: give it a name beside the target first.
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    for (int attempt = 0; temporary_.empty(); ++attempt) {
      const auto candidate = temporary_name(target_);
      if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, candidate.c_str(), AT_SYMLINK_FOLLOW) == 0) {
        temporary_ = candidate;
      } else if (errno != EEXIST || attempt == 100) {
        return io_fault(target_, "create", errno);
      }
    }
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return io_fault(target_, "rename", errno);
  temporary_.clear();
  const int fd = std::exchange(fd_, -1);
  const bool closed = ::close(fd) == 0;
  const int close_error = errno;
  // The rename itself must reach the disk: flush the folder that holds the name.
  if (const int folder = ::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  if (!closed) return io_fault(target_, "close", close_error);
  return {};
}

}  // namespace stillbit::io
