#pragma once

#include <cstddef>

namespace stillbit::report {

/// The page but for what it shows, put together when the command is built (cmake/report_page.cmake). Empty in a build
/// without it.
extern const unsigned char kPageTemplate[];
extern const std::size_t kPageTemplateBytes;

}  // namespace stillbit::report
