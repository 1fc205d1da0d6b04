#include "cli/commands.hpp"
#include "cli/measure.hpp"
#include "cli/output.hpp"
#include "cli/progress_bar.hpp"

#include <stillbit/error.hpp>

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <thread>

namespace stillbit::cli {
namespace {

/// Every processor that this process may run on, when nothing was said.
unsigned threads_to_use(unsigned requested) {
  if (requested > 0) return requested;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  return std::max(1U, std::thread::hardware_concurrency());
}

/// Three quarters of what the system says can be had without swapping, or of what the control group allows.
std::uint64_t memory_to_use() {
  constexpr std::uint64_t kDefault = std::uint64_t{1} << 30;
  std::uint64_t available = std::numeric_limits<std::uint64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, rest; meminfo >> key; std::getline(meminfo, rest)) {
    std::uint64_t kilobytes = 0;
    if (key == "MemAvailable:" && meminfo >> kilobytes) available = kilobytes << 10;
  }
  std::ifstream group("/sys/fs/cgroup/memory.max");
  // The file holds a number, or "max".
  if (std::uint64_t allowed = 0; group >> allowed) available = std::min(available, allowed);
  return available == std::numeric_limits<std::uint64_t>::max() ? kDefault : available / 4 * 3;
}

DType read_as(std::optional<DType> as, DType dtype) {
  if (!as || num_bytes(*as) == num_bytes(dtype)) return as.value_or(dtype);
  throw Error(ErrorCode::kInvalidArgument,
              std::string(name(dtype)) + " cannot be read as " + std::string(name(*as)) + ": the widths differ");
}

/// Calls `visit` with every tensor of a file, compressed or not.
void for_each_subject(const Request& request, bool is_compressed, const std::function<void(Subject)>& visit) {
  if (!is_compressed) {
    for_each_tensor(request.file, [&](const std::string& name, const TensorView& tensor) {
      const auto read = [&](std::span<std::byte> out) {
        if (!out.empty()) std::memcpy(out.data(), tensor.data, out.size());
      };
      visit({name, tensor.dtype, tensor.shape, read, true});
    });
    return;
  }
  for (const auto& [name, tensor] : load(request.file)) {
    const CompressedTensor& stored = tensor;
    const auto read = [&](std::span<std::byte> out) {
      // Mapped tensors are not checked otherwise: what is measured is what was compressed.
      stored.verify(request.num_threads);
      stored.decompress(out, request.num_threads);
    };
    visit({name, stored.dtype(), stored.shape(), read, false});
  }
}

}  // namespace

void bench(const Request& request) {
  const FileInfo info = inspect_file(request.file);
  MeasureOptions options{.compress = request.compress.tensor};
  options.compress.num_threads = threads_to_use(request.num_threads);
  options.max_memory = request.max_megabytes == 0 ? memory_to_use() : request.max_megabytes * 1'000'000;
  ProgressBar bar("measuring", kMeasurePasses * info.raw_bytes);
  options.progress = bar.callback();

  std::vector<Measurement> measured;
  const bool is_compressed = !info.tensors.empty() && info.tensors.front().codec.has_value();
  for_each_subject(request, is_compressed, [&](Subject subject) {
    try {
      subject.dtype = read_as(request.compress.as, subject.dtype);
      measured.push_back(measure(subject, options));
    } catch (const Error& error) {
      throw Error(error.code(), request.file + ": tensor \"" + subject.name + "\": " + error.what());
    }
  });
  bar.finish();
  if (request.json) {
    print_json(std::cout, measured, options.compress.num_threads);
  } else {
    print_table(std::cout, measured, options.compress.num_threads);
  }
}

}  // namespace stillbit::cli
