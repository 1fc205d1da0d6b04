#pragma once

#include "core/result.hpp"

#include <filesystem>
#include <vector>

namespace stillbit::io {

/// A folder that appears whole or not at all.
///
/// Files go to a temporary folder beside the target, which `commit` gives its name. Without `commit` the temporary
/// folder is removed; a killed process leaves it behind, under a name that begins with a dot.
class AtomicFolder {
 public:
  /// The target must not exist, or be an empty folder.
  static Result<AtomicFolder> create(const std::filesystem::path& target);

  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  ~AtomicFolder();

  /// Where files go until then.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return temporary_; }

  /// Gives the folder its name.
  Result<void> commit();

 private:
  AtomicFolder(std::filesystem::path target, std::filesystem::path temporary)
      : target_(std::move(target)), temporary_(std::move(temporary)) {}

  std::filesystem::path target_;
  std::filesystem::path temporary_;
};

/// The regular files in a folder and in the folders in it, by paths from it, in order. Links are followed; folders
/// whose names begin with a dot are what tools keep for themselves, and left out.
Result<std::vector<std::filesystem::path>> files_in(const std::filesystem::path& folder);

/// Whether a folder lies in another, or is it.
bool lies_in(const std::filesystem::path& inner, const std::filesystem::path& outer);

/// Copies a file to a new one, and flushes it to the disk.
Result<void> copy_file(const std::filesystem::path& source, const std::filesystem::path& target);

/// Writes a text to a new file, and flushes it to the disk.
Result<void> write_text(const std::filesystem::path& target, const std::string& text);

}  // namespace stillbit::io
