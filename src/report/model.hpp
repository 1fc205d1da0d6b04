#pragma once

#include <stillbit/analysis.hpp>

#include <string>

namespace stillbit::report {

/// What the page shows, as JSON that can stand in a <script> element whatever names the file has: `<`, `>`, `&` and
/// everything beyond ASCII are written as escapes, bytes that are no UTF-8 as replacement characters.
[[nodiscard]] std::string model(const FileAnalysis& analysis, const std::string& file);

}  // namespace stillbit::report
