#pragma once

#include <stillbit/file.hpp>

#include <filesystem>
#include <optional>

namespace stillbit {

// What include/stillbit/file.hpp declares, for folders. Each throws.

/// What `compress_file` and `decompress_file` do with one file.
FileInfo compress_folder(const std::filesystem::path& input, const std::filesystem::path& output,
                         const CompressFileOptions& options);
void decompress_folder(const std::filesystem::path& input, const std::filesystem::path& output,
                       const DecompressFileOptions& options);
void verify_folder(const std::filesystem::path& folder, const std::optional<std::filesystem::path>& original,
                   const DecompressFileOptions& options);
FileInfo inspect_folder(const std::filesystem::path& folder);
std::uint64_t total_folder_bytes(const std::filesystem::path& folder);

/// Whether a path is a folder, links followed; what cannot be looked at is none.
bool is_folder(const std::filesystem::path& path) noexcept;

}  // namespace stillbit
