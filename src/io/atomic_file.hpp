#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <filesystem>

namespace stillbit::io {

/// A file that appears whole or not at all.
///
/// Bytes go to a temporary file beside the target. `commit` flushes it to the disk and renames it over the target, so
/// that at any moment, a crash included, the target is the old file or the new one. Without `commit` the temporary
/// file is removed. Where the file system has them the temporary file has no name until `commit` (O_TMPFILE), so that
/// even a killed process leaves nothing behind.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& target);

  /// A file that is open already, and empty, for whoever else has its descriptor: `commit` has nothing to do.
  static Result<AtomicFile> adopt(int descriptor);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Reserves the space of the whole file, so that a full disk is found before the work. May be called once.
  Result<void> set_size(std::uint64_t num_bytes);

  /// Cuts off or fills up with zeros, once it is known how large the file is.
  Result<void> resize(std::uint64_t num_bytes);

  /// Writes at an offset. May be called from several threads for different places.
  Result<void> write(std::uint64_t offset, Bytes bytes);

  /// Reads back what was written.
  Result<void> read(std::uint64_t offset, MutableBytes bytes) const;

  /// Makes the file durable and gives it its name.
  Result<void> commit();

 private:
  AtomicFile(std::filesystem::path target, std::filesystem::path temporary, int fd)
      : target_(std::move(target)), temporary_(std::move(temporary)), fd_(fd) {}

  std::filesystem::path target_;
  std::filesystem::path temporary_;  ///< empty while the file has no name
  int fd_;
  bool is_adopted_ = false;
};

}  // namespace stillbit::io
