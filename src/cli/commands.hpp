#pragma once

#include <stillbit/file.hpp>

#include <optional>
#include <string>

namespace stillbit::cli {

/// What was asked for on the command line, already valid as far as words go.
struct Request {
  std::string file;
  std::string output;
  std::optional<std::string> against;
  bool json = false;
  unsigned num_threads = 0;
  std::uint64_t max_megabytes = 0;  ///< of memory, for bench; 0 when nothing was said
  CompressFileOptions compress;
};

// Each runs a command and writes to standard output. Throws stillbit::Error.
void inspect(const Request& request);
void compress(const Request& request);
void decompress(const Request& request);
void verify(const Request& request);
void bench(const Request& request);
void report(const Request& request);

}  // namespace stillbit::cli
