#pragma once

#include "cli/measure.hpp"

#include <stillbit/file.hpp>

#include <iosfwd>
#include <span>
#include <string>

namespace stillbit::cli {

/// One line a tensor, and the total.
void print_table(std::ostream& out, const FileInfo& info);

/// What each tensor would have taken with each codec that was considered, as ratios; nothing where that is not known.
void print_prices(std::ostream& out, const FileInfo& info);

/// One JSON object, as scripts rely on it.
void print_json(std::ostream& out, const FileInfo& info);

/// The same for what was measured.
void print_table(std::ostream& out, std::span<const Measurement> measured, unsigned num_threads);
void print_json(std::ostream& out, std::span<const Measurement> measured, unsigned num_threads);

/// A text as a terminal may show it: without control characters, which names in files can have.
std::string printable(std::string text);

/// "1.5 GB", in powers of ten.
std::string human_bytes(std::uint64_t num_bytes);

}  // namespace stillbit::cli
