// GB/s of compressing, decompressing and gathering, beside memcpy and raw gathers of the same bytes in the same run:
// stillbit_bench [--dram-megabytes=N] [--json=FILE] [--benchmark_filter=REGEX] …
//
// Every number is bytes of raw tensor per second, so that they compare. Times are of one machine at one moment: quote
// the ratio to what ran beside, not the GB/s; bench/tables.py computes it. Each codec runs together with references of
// its own, its round trip is checked before anything is timed, and there is one tensor in memory at a time: about 5 × N
// MB.

#include "bench/reference.hpp"
#include "bench/report.hpp"
#include "bench/subject.hpp"
#include "cpu/isa.hpp"

#include <benchmark/benchmark.h>

#include <regex.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

using namespace stillbit;
using namespace stillbit::bench;

struct Arguments {
  std::uint64_t dram_bytes = std::uint64_t{1} << 30;
  std::string json_path;
};

/// Takes our own arguments out of argv. The library looks at the others.
Arguments parse(int& argc, char** argv) {
  constexpr std::uint64_t kStep = std::uint64_t{16} << 20;
  const std::string dram = "--dram-megabytes=";
  const std::string json = "--json=";
  Arguments arguments;
  int kept = 0;
  for (int i = 0; i < argc; ++i) {
    const std::string text = argv[i];
    if (text.rfind(dram, 0) == 0) {
      const std::uint64_t bytes = std::strtoull(text.c_str() + dram.size(), nullptr, 10) << 20;
      arguments.dram_bytes = std::max(bytes / kStep * kStep, kStep);
    } else if (text.rfind(json, 0) == 0) {
      arguments.json_path = text.substr(json.size());
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return arguments;
}

/// The names that the user asked for. (POSIX: the C++ library's own expressions make GCC 12 warn under sanitizers.)
class Filter {
 public:
  explicit Filter(const std::string& text) {
    const std::string pattern = text.empty() || text == "all" ? "." : text;
    if (regcomp(&regex_, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
      throw std::runtime_error(pattern + ": not a regular expression");
  }
  ~Filter() { regfree(&regex_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  [[nodiscard]] bool accepts(const std::string& name) const {
    return regexec(&regex_, name.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t regex_{};
};

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond)->UseRealTime();
}

void set_bytes(benchmark::State& state, std::uint64_t per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(per_iteration) * state.iterations());
}

/// What all subjects are measured beside. Each has its own: the machine may be slower an hour later.
void add_references(const std::string& subject, Data& data, unsigned num_threads) {
  const std::string suffix = "/beside:" + subject + "/" + data.which.name() + "/threads:" + std::to_string(num_threads);
  if (data.which.has_bulk) {
    add("memcpy" + suffix, [&data, num_threads](benchmark::State& state) {
      for (auto _ : state) {
        copy(data, num_threads);
        benchmark::ClobberMemory();
      }
      set_bytes(state, data.raw.size());
    });
  }
  const auto add_gather = [&](const std::string& name, unsigned ahead) {
    add(name + suffix, [&data, ahead, num_threads](benchmark::State& state) {
      std::uint64_t num_rows = 0;
      for (auto _ : state) {
        const auto index = data.next_index();
        raw_gather(data, index, ahead, num_threads);
        benchmark::ClobberMemory();
        num_rows = index.size();
      }
      set_bytes(state, num_rows * data.which.row_bytes());
      state.counters["ahead"] = ahead;
    });
  };
  add_gather("raw_gather", data.ahead);
  add_gather("take", 0);
}

void add_operation(const std::string& name, const Operation& operation, Data& data, unsigned num_threads) {
  add(name, [operation, &data, num_threads](benchmark::State& state) {
    if (const auto reason = operation.prepare(data)) {
      state.SkipWithError(reason->c_str());
      return;
    }
    std::uint64_t num_bytes = 0;
    for (auto _ : state) {
      num_bytes = operation.run(data, num_threads);
      benchmark::ClobberMemory();
    }
    set_bytes(state, num_bytes);
    state.counters["ratio"] = operation.ratio();
  });
}

/// "decompress/codec:escape/packing:packed/dtype:bf16/columns:1024/values:normal/size:dram/threads:1"
std::string name_of(const Operation& operation, const Subject& subject, const Case& which, unsigned num_threads) {
  return operation.name + "/codec:" + subject.name() +
         (operation.packing.empty() ? "" : "/packing:" + operation.packing) + "/" + which.name() +
         "/threads:" + std::to_string(num_threads);
}

/// Runs what is wanted of one codec or compressor on one tensor, with its references. The tensor is made when it is
/// first needed.
void run(Subject& subject, const Case& which, std::unique_ptr<Data>& data, const Filter& filter, Report& report) {
  benchmark::ClearRegisteredBenchmarks();
  bool is_any = false;
  for (const unsigned num_threads : which.threads()) {
    bool is_any_of_these = false;
    for (const Operation& operation : subject.operations(which)) {
      const std::string name = name_of(operation, subject, which, num_threads);
      if (!filter.accepts(name)) continue;
      if (!data) data = std::make_unique<Data>(which);
      add_operation(name, operation, *data, num_threads);
      is_any_of_these = true;
    }
    if (is_any_of_these) add_references(subject.name(), *data, num_threads);
    is_any = is_any || is_any_of_these;
  }
  if (is_any) benchmark::RunSpecifiedBenchmarks(&report, nullptr, ".");
  subject.reset();
}

int measure(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  benchmark::AddCustomContext("instruction_set", std::string(cpu::name(cpu::active_isa())));
  benchmark::AddCustomContext("dram_bytes", std::to_string(arguments.dram_bytes));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Filter filter(benchmark::GetBenchmarkFilter());
  Report report(arguments.json_path);
  if (!report.is_writable()) throw std::runtime_error(arguments.json_path + ": cannot be written");
  std::vector<std::unique_ptr<Subject>> subjects = codecs();
  for (auto& peer : peers()) subjects.push_back(std::move(peer));
  for (const Case& which : all_cases(arguments.dram_bytes)) {
    std::unique_ptr<Data> data;
    for (const auto& subject : subjects) run(*subject, which, data, filter, report);
  }
  benchmark::Shutdown();
  if (!report.has_begun()) throw std::runtime_error("no benchmark has a name that matches");
  if (!report.finish()) throw std::runtime_error(arguments.json_path + ": cannot be written");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "stillbit_bench: " << error.what() << '\n';
    return 1;
  }
}
