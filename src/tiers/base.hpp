#pragma once

#include "api/compressed_tensor.hpp"
#include "core/result.hpp"

#include <stillbit/tensor.hpp>

#include <sys/stat.h>

#include <filesystem>

namespace stillbit::tiers {

/// An open file that was mapped, and what it was like then.
class FileGuard {
 public:
  FileGuard() = default;
  FileGuard(FileGuard&& other) noexcept;
  FileGuard& operator=(FileGuard&& other) noexcept;
  FileGuard(const FileGuard&) = delete;
  FileGuard& operator=(const FileGuard&) = delete;
  ~FileGuard();

  static Result<FileGuard> open(const std::filesystem::path& path);

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  /// Fails when the file was truncated or written to since it was opened; never without a file.
  [[nodiscard]] Result<void> check() const;

 private:
  int descriptor_ = -1;
  struct stat status_{};
  std::filesystem::path path_;
};

/// The same tensor once more: in memory of its own, or mapped as before.
[[nodiscard]] CompressedTensor copy_of(const CompressedTensor& tensor);

/// The tensor that a table is made of: all of its warm tier, or its cold one.
struct Base {
  CompressedTensor tensor;
  FileGuard file;

  Base(CompressedTensor from, FileGuard guard) : tensor(std::move(from)), file(std::move(guard)) {}

  [[nodiscard]] bool is_mapped() const noexcept { return !tensor.impl().mapped.empty(); }
  /// Whether its rows can be rewritten where they are.
  [[nodiscard]] bool is_mutable() const noexcept { return !is_mapped() && tensor.packing() == Packing::kSlotted; }

  /// Bytes that it has in memory; room for what it may grow by included.
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept;
  /// The same after an update with these rows, at most: what update.cpp reserves for their tails. `rows` are one behind
  /// the other.
  [[nodiscard]] std::uint64_t memory_bytes_with(Bytes rows) const;
  /// The mean of what is stored for a row.
  [[nodiscard]] double mean_stored_bytes() const noexcept;
};

}  // namespace stillbit::tiers
