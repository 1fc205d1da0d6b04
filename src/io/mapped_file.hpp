#pragma once

#include "core/bytes.hpp"
#include "core/result.hpp"

#include <filesystem>

namespace stillbit::io {

/// How mapped bytes are going to be read: what else the system reads when a page is touched.
enum class Access {
  kRandom,      ///< nothing
  kSequential,  ///< what comes next
};
void advise(Bytes mapped, Access access) noexcept;

/// A file mapped read-only, for random access. Pages are read when they are touched.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);

  /// A file that is open already; the descriptor is not kept. `shown` is what messages call it.
  static Result<MappedFile> map(int descriptor, const std::filesystem::path& shown);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }

 private:
  explicit MappedFile(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Gives back the memory of mapped pages that lie wholly within `bytes`; they are read again when touched. For use on
/// read-only mappings of files only: private memory would lose its contents.
void release_pages(Bytes bytes) noexcept;

/// The whole of a file, in memory of its own.
Result<std::string> read_text(const std::filesystem::path& path);

/// "path: No such file or directory", from errno.
Fault io_fault(const std::filesystem::path& path, const char* action, int error_number);

}  // namespace stillbit::io
