#pragma once

#include <stillbit/analysis.hpp>

#include <string>

namespace stillbit::report {

/// Whether the page is part of this build (STILLBIT_BUILD_REPORT).
[[nodiscard]] bool is_available() noexcept;

/// The report: one HTML page that needs nothing else. `file` is what it calls the file.
/// Precondition: it is available.
[[nodiscard]] std::string page(const FileAnalysis& analysis, const std::string& file);

}  // namespace stillbit::report
