#pragma once

#include <stillbit/file.hpp>

#include <iosfwd>
#include <string>

namespace stillbit::cli {

/// One line a tensor, and the total.
void print_table(std::ostream& out, const FileInfo& info);

/// One JSON object, as scripts rely on it.
void print_json(std::ostream& out, const FileInfo& info);

/// A text as a terminal may show it: without control characters, which names in files can have.
std::string printable(std::string text);

/// "1.5 GB", in powers of ten.
std::string human_bytes(std::uint64_t num_bytes);

}  // namespace stillbit::cli
