#include "cli/commands.hpp"

#include "cli/output.hpp"
#include "cli/progress_bar.hpp"

#include <iostream>

namespace stillbit::cli {
namespace {

/// Passes over a tensor's bytes that compressing makes at most, as far as progress is concerned.
constexpr std::uint64_t kCompressPasses = 3;

void print(const FileInfo& info, bool json) {
  if (json) {
    print_json(std::cout, info);
  } else {
    print_table(std::cout, info);
  }
}

}  // namespace

void inspect(const Request& request) {
  const FileInfo info = inspect_file(request.file);
  print(info, request.json);
  if (!request.json) print_prices(std::cout, info);
}

void compress(const Request& request) {
  ProgressBar bar("compressing", kCompressPasses * total_bytes(request.file));
  CompressFileOptions options = request.compress;
  options.tensor.num_threads = request.num_threads;
  options.tensor.progress = bar.callback();
  const FileInfo info = compress_file(request.file, request.output, options);
  bar.finish();
  print(info, request.json);
}

void decompress(const Request& request) {
  ProgressBar bar("decompressing", total_bytes(request.file));
  decompress_file(request.file, request.output, {request.num_threads, bar.callback()});
  bar.finish();
}

void verify(const Request& request) {
  ProgressBar bar("verifying", total_bytes(request.file));
  std::optional<std::filesystem::path> original;
  if (request.against) original = *request.against;
  verify_file(request.file, original, {request.num_threads, bar.callback()});
  bar.finish();
  std::cout << request.file << ": checksums are right";
  if (original) std::cout << ", and every bit is that of " << original->string();
  std::cout << '\n';
}

}  // namespace stillbit::cli
