// Results of several runs as one: lines on the terminal, and one JSON document.

#pragma once

#include <benchmark/benchmark.h>

#include <fstream>
#include <string>
#include <utility>

namespace stillbit::bench {

/// Hands everything to the library's own reporters, the head only once.
class Report final : public benchmark::BenchmarkReporter {
 public:
  /// Writes no file when the path is empty.
  explicit Report(const std::string& json_path) {
    if (!json_path.empty()) file_.open(json_path);
    is_writing_ = !json_path.empty();
    json_.SetOutputStream(&file_);
    json_.SetErrorStream(&file_);
  }

  bool ReportContext(const Context& context) override {
    if (std::exchange(has_begun_, true)) return true;
    return console_.ReportContext(context) && json_.ReportContext(context);
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    console_.ReportRuns(runs);
    json_.ReportRuns(runs);
    file_.flush();
  }

  /// Whether the file is there to be written, if there is to be one.
  [[nodiscard]] bool is_writable() const { return !is_writing_ || file_.good(); }

  [[nodiscard]] bool has_begun() const { return has_begun_; }

  /// After the last run. False when the file could not be written.
  bool finish() {
    if (has_begun_) json_.Finalize();
    file_.flush();
    return is_writable();
  }

 private:
  bool has_begun_ = false;
  bool is_writing_ = false;
  std::ofstream file_;
  benchmark::ConsoleReporter console_{benchmark::ConsoleReporter::OO_None};
  benchmark::JSONReporter json_;
};

}  // namespace stillbit::bench
