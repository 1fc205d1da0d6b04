#include "cli/commands.hpp"
#include "cli/output.hpp"

#include <stillbit/stillbit.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <new>

namespace {

namespace sb = stillbit;
using sb::cli::Request;

constexpr int kFailure = 1;
constexpr int kUsage = 2;

const char* const kFileHelp = ".npy, .safetensors or .safetensors.index.json file";
const char* const kFolderHelp = ".npy, .safetensors or .safetensors.index.json file, or a model's folder";

CLI::Option* add_file(CLI::App& command, Request& request, const char* help = kFolderHelp) {
  return command.add_option("FILE", request.file, help)->required();
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

/// A folder becomes a folder, of any name; a file one with such an ending.
void check_output(const Request& request, const std::vector<std::string>& suffixes, const std::string& message) {
  const std::string& text = request.output;
  const auto ends_with = [&](const std::string& suffix) {
    return text.size() > suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
  };
  if (is_folder(request.file) ? text.empty() : std::none_of(suffixes.begin(), suffixes.end(), ends_with))
    throw CLI::ValidationError("--output", text + ": " + message);
}

void add_threads(CLI::App& command, Request& request) {
  command.add_option("--threads", request.num_threads, "threads to use (default: all processors)")
      ->check(CLI::Range(1, 4096));
}

/// Words of an option and what they stand for: kept as text until they are looked up, so that a wrong one is a usage
/// error.
template <class Lookup>
CLI::Validator known(const std::string& what, Lookup lookup) {
  return CLI::Validator(
      [=](std::string& text) { return lookup(text) ? std::string() : "unknown " + what + " " + text; }, what);
}

/// ", raw, ibp …": the codecs of this library.
std::string codec_names() {
  std::string names;
  for (unsigned number = 0; number < 256; ++number) {
    const auto text = sb::name(static_cast<sb::Codec>(number));
    if (sb::codec_from_name(text)) names += ", " + std::string(text);
  }
  return names;
}

/// What compress takes, and bench and report, which show what it would do.
void add_compress_options(CLI::App& command, Request& request) {
  const auto codec_known = [](const std::string& text) {
    return text == "auto" || sb::codec_from_name(text).has_value();
  };
  const auto packing_known = [](const std::string& text) {
    return text == "auto" || sb::packing_from_name(text).has_value();
  };
  command
      .add_option_function<std::string>(
          "--codec", [&request](const std::string& text) { request.compress.tensor.codec = sb::codec_from_name(text); },
          "auto (default)" + codec_names())
      ->check(known("codec", codec_known));
  command
      .add_option_function<std::string>(
          "--objective",
          [&request](const std::string& text) { request.compress.tensor.objective = *sb::objective_from_name(text); },
          "what auto makes small: storage (default), transfer in gathers, speed of decompression, or smallest: storage "
          "where no rows are gathered")
      ->check(known("objective", [](const std::string& text) { return sb::objective_from_name(text).has_value(); }));
  command
      .add_option_function<std::string>(
          "--packing",
          [&request](const std::string& text) { request.compress.tensor.packing = sb::packing_from_name(text); },
          "packed (default), slotted, or auto: slots, unless they take more than 6 % more than packed rows")
      ->check(known("packing", packing_known));
  command
      .add_option_function<std::string>(
          "--as", [&request](const std::string& text) { request.compress.as = sb::dtype_from_name(text); },
          "read the elements as this dtype of the same width, as bf16 in a u16 array")
      ->check(known("dtype", [](const std::string& text) { return sb::dtype_from_name(text).has_value(); }));
  command
      .add_option("--row-dims", request.compress.tensor.row_dims,
                  "how many of the last dimensions make a row (default: 1)")
      ->check(CLI::Range(0, 64));
}

int run(int argc, char** argv) {
  CLI::App app{"Lossless compression of ML tensors."};
  app.set_version_flag("--version", STILLBIT_VERSION);
  app.require_subcommand(1);
  Request request;
  std::function<void(const Request&)> command;

  CLI::App* inspect = app.add_subcommand("inspect", "what is in a file: tensors, dtype, shape, codec, bytes, ratio");
  add_file(*inspect, request);
  inspect->add_flag("--json", request.json, "print one JSON object");
  inspect->callback([&] { command = sb::cli::inspect; });

  CLI::App* compress = app.add_subcommand("compress", "compress every tensor of a file, or of a model's folder");
  add_file(*compress, request);
  compress->add_option("-o,--output", request.output, "the compressed .safetensors file, or folder")->required();
  add_compress_options(*compress, request);
  compress->add_flag("--json", request.json, "print one JSON object");
  add_threads(*compress, request);
  compress->callback([&] {
    check_output(request, {".safetensors"}, "the output must be a .safetensors file");
    command = sb::cli::compress;
  });

  CLI::App* decompress = app.add_subcommand("decompress", "get the tensors back, bit for bit");
  add_file(*decompress, request);
  decompress->add_option("-o,--output", request.output, "the .safetensors or .npy file, or folder")->required();
  add_threads(*decompress, request);
  decompress->callback([&] {
    check_output(request, {".safetensors", ".npy"}, "the output must be a .safetensors or .npy file");
    command = sb::cli::decompress;
  });

  CLI::App* verify = app.add_subcommand("verify", "check the checksums, and compare with the original bit for bit");
  add_file(*verify, request);
  verify->add_option("--against", request.against, "the file or folder that was compressed");
  add_threads(*verify, request);
  verify->callback([&] { command = sb::cli::verify; });

  CLI::App* bench = app.add_subcommand("bench", "ratio and speed of every tensor of a file, beside memcpy");
  add_file(*bench, request, kFileHelp);
  add_compress_options(*bench, request);
  bench->add_flag("--json", request.json, "print one JSON object");
  bench
      ->add_option("--max-memory", request.max_megabytes,
                   "megabytes to use at most (default: three quarters of what is free)")
      ->check(CLI::Range(1, 1 << 30));
  add_threads(*bench, request);
  bench->callback([&] { command = sb::cli::bench; });

  CLI::App* report = app.add_subcommand("report", "where the bits go, as a page for the browser");
  add_file(*report, request, kFileHelp);
  report->add_option("-o,--output", request.output, "the .html file")->required();
  add_compress_options(*report, request);
  add_threads(*report, request);
  report->callback([&] {
    check_output(request, {".html"}, "the output must be a .html file");
    command = sb::cli::report;
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : kUsage;
  }
  command(request);
  std::cout.flush();
  if (!std::cout) throw sb::Error(sb::ErrorCode::kIo, "cannot write to standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::cerr << "stillbit: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "stillbit: " << sb::cli::printable(error.what()) << '\n';
  }
  return kFailure;
}
