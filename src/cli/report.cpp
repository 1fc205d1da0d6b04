#include "cli/commands.hpp"
#include "cli/progress_bar.hpp"
#include "report/report.hpp"

#include <stillbit/error.hpp>

#include <filesystem>
#include <span>
#include <string>

namespace stillbit::cli {

void report(const Request& request) {
  if (!report::is_available()) {
    throw Error(ErrorCode::kUnsupported,
                "this build has no report: it was made with STILLBIT_BUILD_REPORT=OFF, without the D3 library");
  }
  ProgressBar bar("looking", total_bytes(request.file));
  AnalyzeOptions options{.tensor = request.compress.tensor, .as = request.compress.as};
  options.tensor.num_threads = request.num_threads;
  options.tensor.progress = bar.callback();
  const FileAnalysis analysis = analyze_file(request.file, options);
  const std::string page = report::page(analysis, std::filesystem::path(request.file).filename().string());
  write_file(request.output, std::as_bytes(std::span(page)));
  bar.finish();
}

}  // namespace stillbit::cli
