#include "io/folder.hpp"

#include "io/atomic_file.hpp"
#include "io/mapped_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>

namespace stillbit::io {
namespace {

namespace fs = std::filesystem;

/// Deeper than any model's files; links may lead back.
constexpr int kDeepest = 16;

/// Written at a time, and given back to the system.
constexpr std::uint64_t kPieceBytes = std::uint64_t{8} << 20;

/// "…/model/" and "…/model/." are "…/model": a name is needed, and a folder beside.
fs::path named(const fs::path& folder) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

Result<void> list(const fs::path& folder, const fs::path& prefix, int depth, std::vector<fs::path>& found) {
  if (depth > kDeepest) return invalid(folder.string() + ": folders lie in each other more than 16 deep");
  std::error_code error;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator(); at.increment(error)) {
    const fs::path name = at->path().filename();
    if (at->is_directory(error)) {
      if (name.string().front() != '.') STILLBIT_CHECK(list(at->path(), prefix / name, depth + 1, found));
    } else if (at->is_regular_file(error)) {
      found.push_back(prefix / name);
    } else {
      return Fault{ErrorCode::kIo, at->path().string() + ": cannot read: not a regular file"};
    }
  }
  if (error) return io_fault(folder, "read", error.value());
  return {};
}

}  // namespace

Result<AtomicFolder> AtomicFolder::create(const fs::path& target) {
  const fs::path path = named(target);
  std::error_code error;
  if (fs::exists(path, error) && !(fs::is_directory(path, error) && fs::is_empty(path, error)))
    return Fault{ErrorCode::kIo, path.string() + ": cannot write: it is there already, and no empty folder"};
  if (error) return io_fault(path, "create", error.value());
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    char suffix[16];
    std::snprintf(suffix, sizeof suffix, "-%08x", random());
    // Names have an end: of a long one a part must do.
    fs::path temporary = path.parent_path() / ("." + path.filename().string().substr(0, 200) + suffix);
    if (fs::create_directory(temporary, error)) return AtomicFolder(path, std::move(temporary));
    if (error) break;
  }
  return io_fault(path, "create", error ? error.value() : EEXIST);
}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : target_(std::move(other.target_)), temporary_(std::exchange(other.temporary_, {})) {}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

Result<void> AtomicFolder::commit() {
  // An empty folder of that name is replaced; anything that came there meanwhile is not.
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return io_fault(target_, "rename", errno);
  temporary_.clear();
  if (const int parent = ::open(target_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); parent >= 0) {
    ::fsync(parent);
    ::close(parent);
  }
  return {};
}

Result<std::vector<fs::path>> files_in(const fs::path& folder) {
  std::vector<fs::path> found;
  STILLBIT_CHECK(list(folder, {}, 0, found));
  std::sort(found.begin(), found.end());
  return found;
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  std::error_code error;
  const fs::path part = fs::weakly_canonical(named(inner), error);
  const fs::path whole = fs::weakly_canonical(named(outer), error);
  return std::mismatch(whole.begin(), whole.end(), part.begin(), part.end()).first == whole.end();
}

Result<void> copy_file(const fs::path& source, const fs::path& target) {
  STILLBIT_TRY(const MappedFile file, MappedFile::open(source));
  STILLBIT_TRY(AtomicFile copy, AtomicFile::create(target));
  STILLBIT_CHECK(copy.set_size(file.bytes().size()));
  for (std::uint64_t begin = 0; begin < file.bytes().size(); begin += kPieceBytes) {
    const Bytes piece = file.bytes().subspan(begin, std::min<std::uint64_t>(kPieceBytes, file.bytes().size() - begin));
    STILLBIT_CHECK(copy.write(begin, piece));
    release_pages(piece);
  }
  return copy.commit();
}

Result<void> write_text(const fs::path& target, const std::string& text) {
  STILLBIT_TRY(AtomicFile file, AtomicFile::create(target));
  STILLBIT_CHECK(file.set_size(text.size()));
  STILLBIT_CHECK(file.write(0, std::as_bytes(std::span(text))));
  return file.commit();
}

}  // namespace stillbit::io
