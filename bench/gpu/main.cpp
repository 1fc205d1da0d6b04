// Times of what Stillbit does on a GPU, beside what the same bytes take raw, in one run:
// stillbit_gpu_bench [--seconds=N] [--json=FILE] [--commit=NAME] [--only=TEXT] [--list]
//
// Cases run in the order of their importance until the time is up; what is left is listed. Each is verified bit for bit
// before it is timed. bench/gpu/tables.py makes tables of the JSON. Where there is no GPU it says so, and that is no
// error.

#include "bench/gpu/cases.hpp"
#include "bench/gpu/device.hpp"
#include "bench/gpu/measure.hpp"
#include "bench/gpu/work.hpp"

#include <stillbit/cuda.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>

namespace stillbit::bench::gpu {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  double seconds = 240;
  std::string json_path;
  std::string commit = "unknown";
  std::string only;  ///< cases whose names hold this
  bool is_list = false;
};

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string text = argv[i];
    const auto value = [&](const std::string& key) -> std::optional<std::string> {
      if (text.rfind(key, 0) != 0) return {};
      return text.substr(key.size());
    };
    if (const auto seconds = value("--seconds=")) {
      arguments.seconds = std::strtod(seconds->c_str(), nullptr);
    } else if (const auto path = value("--json=")) {
      arguments.json_path = *path;
    } else if (const auto commit = value("--commit=")) {
      arguments.commit = *commit;
    } else if (const auto only = value("--only=")) {
      arguments.only = *only;
    } else if (text == "--list") {
      arguments.is_list = true;
    } else {
      return {};
    }
  }
  return arguments;
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time));
  return text;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Json describe(const Case& which) {
  Json json = {{"name", which.name()},
               {"job", name(which.job)},
               {"codec", stillbit::name(which.codec)},
               {"packing", stillbit::name(which.packing)},
               {"dtype", gpu::name(which.data.dtype)},
               {"values", gpu::name(which.data.values)},
               {"row_bytes", which.data.row_bytes},
               {"num_rows", which.data.num_rows()}};
  if (which.is_gather()) {
    json["batch"] = which.num_index;
    json["order"] = name(which.order);
    json["max_sms"] = which.max_sms;
  }
  if (which.is_raw()) {
    json["fetch"] = name(which.raw.fetch);
    json["depth"] = which.raw.depth;
    json["pages"] = name(which.raw.pages);
    json["shift_bytes"] = which.raw.shift_bytes;
  }
  return json;
}

class Bench {
 public:
  explicit Bench(const Arguments& arguments) : arguments_(arguments) {
    document_ = {{"date", now()}, {"commit", arguments.commit}};
  }

  int run() {
    std::string why_not;
    if (cuda::num_devices(&why_not) == 0) {
      document_["skipped"] = why_not;
      write();
      std::cout << "skipped: " << why_not << '\n';
      return 0;
    }
    document_["device"] = describe_device();
    document_["cases"] = Json::array();
    document_["not_measured"] = Json::array();
    require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    outputs_.emplace();
    require_that_errors_are_found(*outputs_, stream_);
    for (const Case& which : all_cases(document_["device"]["num_sms"])) {
      if (which.name().find(arguments_.only) == std::string::npos) continue;
      if (seconds() > arguments_.seconds) {
        document_["not_measured"].push_back(which.name());
      } else {
        run(which);
      }
    }
    document_["seconds"] = seconds();
    write();
    std::cout << document_["cases"].size() << " cases, " << document_["not_measured"].size()
              << " for which there was no time, " << num_wrong_ << " wrong\n";
    return num_wrong_ == 0 ? 0 : 1;
  }

 private:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

  void run(const Case& which) {
    Json result = describe(which);
    try {
      if (!data_ || data_->which() != which.data) {
        data_.reset();
        data_.emplace(which.data);
      }
      measure_into(which, result);
    } catch (const Skip& skip) {
      result["skipped"] = skip.why;
    } catch (const std::exception& error) {
      result["error"] = error.what();
      ++num_wrong_;
    }
    std::cout << (result.contains("error") ? "WRONG " : "") << which.name() << ": " << summary(result) << std::endl;
    document_["cases"].push_back(std::move(result));
    write();  // what is there is kept whatever comes
    // Of an error like a bad address the process does not recover.
    require(cudaDeviceSynchronize(), "the GPU");
  }

  void measure_into(const Case& which, Json& result) {
    const Work work = prepare(which, *data_, *outputs_);
    result["ratio"] = work.ratio;
    result["transfer_ratio"] = work.transfer_ratio;
    result["raw_bytes"] = work.raw_bytes;
    result["stored_bytes"] = work.stored_bytes;
    if (work.bytes_in_flight != 0) result["bytes_in_flight_per_sm"] = work.bytes_in_flight;
    if (!is_exact(work, *data_, *outputs_, stream_)) throw std::runtime_error("not bit for bit what it should be");
    result["verified"] = work.verified_rows != 0;
    const Timing timing = measure(work, stream_);
    if (work.check) work.check(stream_);
    // What calls leave behind is what later ones find.
    if (work.expand && !is_exact(work, *data_, *outputs_, stream_))
      throw std::runtime_error("after many calls not bit for bit what it should be");
    result["median_s"] = median(timing.seconds);
    result["min_s"] = *std::min_element(timing.seconds.begin(), timing.seconds.end());
    result["max_s"] = *std::max_element(timing.seconds.begin(), timing.seconds.end());
    result["repetitions_s"] = timing.seconds;
    result["calls_per_repetition"] = timing.calls;
  }

  static std::string summary(const Json& result) {
    if (result.contains("error")) return result["error"];
    if (result.contains("skipped")) return result["skipped"];
    const double rate = result["raw_bytes"].get<double>() / result["median_s"].get<double>() / 1e9;
    return std::to_string(rate) + " GB/s of raw bytes";
  }

  void write() const {
    if (arguments_.json_path.empty()) return;
    std::ofstream file(arguments_.json_path);
    file << document_.dump(1) << '\n';
    if (!file.flush()) throw std::runtime_error(arguments_.json_path + ": cannot be written");
  }

  const Arguments& arguments_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Json document_;
  cudaStream_t stream_ = nullptr;
  std::optional<Outputs> outputs_;
  std::optional<Data> data_;
  int num_wrong_ = 0;
};

int main_of(int argc, char** argv) {
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    std::cerr << "usage: stillbit_gpu_bench [--seconds=N] [--json=FILE] [--commit=NAME] [--only=TEXT] [--list]\n";
    return 2;
  }
  if (arguments->is_list) {
    constexpr std::uint32_t kNumSms = 132;  // of an H100; there need not be a GPU
    for (const Case& which : all_cases(kNumSms)) std::cout << which.name() << '\n';
    return 0;
  }
  return Bench(*arguments).run();
}

}  // namespace
}  // namespace stillbit::bench::gpu

int main(int argc, char** argv) {
  (void)::setenv("STILLBIT_CUDA_LIBRARY", STILLBIT_BUILT_CUDA_LIBRARY, 0);
  try {
    return stillbit::bench::gpu::main_of(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "stillbit_gpu_bench: " << error.what() << '\n';
    return 1;
  }
}
