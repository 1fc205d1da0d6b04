// How fast bags of rows are looked up on a GPU, beside the other ways to do so, in one run:
// stillbit_gpu_pool_bench [--seconds=N] [--json=FILE] [--list]
//
// Tables of bf16, normally distributed, 512 MiB each; sums. Ways: the CPU gathers raw rows into pinned memory, the copy
// engine moves them, a kernel adds them (cpu_gather); the CPU pools compressed rows, and the copy engine moves the
// results (cpu_pool); one kernel reads raw rows over the link (codec raw, pinned), or from the GPU's memory; and the
// same for rows that are compressed. Each is verified bit for bit against the CPU's pool before it is timed. Where
// there is no GPU it says so, and that is no error.

#include "bench/gpu/data.hpp"
#include "bench/gpu/device.hpp"
#include "bench/gpu/measure.hpp"
#include "bench/gpu/pool_kernels.hpp"

#include <stillbit/pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace stillbit::bench::gpu {
namespace {

using Json = nlohmann::ordered_json;

enum class Way : std::uint8_t { kCpuGather, kCpuPool, kPinned, kDevice };
constexpr const char* kWayNames[] = {"cpu_gather", "cpu_pool", "pinned", "device"};

constexpr std::uint64_t kTableBytes = std::uint64_t{512} << 20;
constexpr std::uint64_t kLookups = 131072;  ///< rows of a call, of all tables together

struct PoolCase {
  std::uint64_t row_bytes = 0;
  std::uint64_t bag_rows = 0;
  std::uint64_t num_tables = 1;  ///< one table's bags are those of so many
  Way way = Way::kPinned;
  Codec codec = Codec::kRaw;

  [[nodiscard]] std::uint64_t num_bags() const { return kLookups / bag_rows / num_tables; }  ///< of each table
  [[nodiscard]] DataSet data() const { return {DType::kBF16, testing::Values::kNormal, row_bytes, kTableBytes}; }
  [[nodiscard]] std::string name() const {
    return std::string(kWayNames[static_cast<int>(way)]) + "/codec:" + std::string(stillbit::name(codec)) +
           "/row_bytes:" + std::to_string(row_bytes) + "/bag_rows:" + std::to_string(bag_rows) +
           "/tables:" + std::to_string(num_tables);
  }
};

std::vector<PoolCase> all_cases() {
  std::vector<PoolCase> cases;
  for (const std::uint64_t row_bytes : {128U, 256U, 512U}) {
    for (const auto& [bag_rows, num_tables] : {std::pair{1U, 1U}, {8U, 1U}, {32U, 1U}, {8U, 26U}}) {
      cases.push_back({row_bytes, bag_rows, num_tables, Way::kCpuGather, Codec::kRaw});
      cases.push_back({row_bytes, bag_rows, num_tables, Way::kCpuPool, Codec::kEscape});
      for (const Way way : {Way::kPinned, Way::kDevice}) {
        for (const Codec codec : {Codec::kRaw, Codec::kEscape, Codec::kWindow})
          cases.push_back({row_bytes, bag_rows, num_tables, way, codec});
      }
    }
  }
  return cases;
}

/// The memory of a case, and what is done with it.
class PoolBench {
 public:
  PoolBench(const PoolCase& which, Data& data, cudaStream_t stream)
      : which_(which),
        stream_(stream),
        tensor_(data.tensor(which.codec, Packing::kSlotted)),
        index_(data.index(num_rows(), Order::kRandom)),
        out_(device_memory(out_bytes())),
        pinned_(pinned_memory(num_rows() * which.row_bytes)),
        moved_(device_memory(num_rows() * which.row_bytes)) {
    for (std::uint64_t bag = 0; bag < which.num_bags(); ++bag)
      offsets_.push_back(static_cast<std::int64_t>(bag * which.bag_rows));
    device_offsets_ = device_memory(offsets_.size() * sizeof(std::int64_t));
    require(cudaMemcpy(device_offsets_.get(), offsets_.data(), offsets_.size() * sizeof(std::int64_t),
                       cudaMemcpyHostToDevice),
            "cudaMemcpy");
    if (which.way == Way::kPinned || which.way == Way::kDevice) {
      const auto placement = which.way == Way::kPinned ? cuda::Placement::kPinned : cuda::Placement::kDevice;
      table_ = &data.tables(which.codec, Packing::kSlotted, placement).front();
    }
  }

  [[nodiscard]] Work work() {
    Work work;
    work.run = [this](std::uint64_t call, cudaStream_t) { run(call); };
    if (table_ != nullptr) work.check = [this](cudaStream_t stream) { table_->check(stream); };
    work.is_on_cpu = table_ == nullptr;
    work.raw_bytes = num_rows() * which_.row_bytes;
    return work;
  }

  [[nodiscard]] bool is_exact() {
    require(cudaMemsetAsync(out_.get(), 0xA5, out_bytes(), stream_), "cudaMemsetAsync");
    run(0);
    require(cudaStreamSynchronize(stream_), "the first call");
    if (table_ != nullptr) table_->check(stream_);
    std::vector<std::byte> found(out_bytes());
    std::vector<std::byte> wanted(out_bytes());
    require(cudaMemcpy(found.data(), out_.get(), out_bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    pool_by_cpu(0, wanted.data());
    return found == wanted;
  }

  [[nodiscard]] std::uint64_t num_rows() const { return which_.num_bags() * which_.bag_rows * which_.num_tables; }
  [[nodiscard]] double transfer_ratio() const { return tensor_.transfer_ratio(); }

 private:
  [[nodiscard]] std::uint64_t rows_of_table() const { return which_.num_bags() * which_.bag_rows; }
  [[nodiscard]] std::uint64_t out_bytes() const { return which_.num_bags() * which_.num_tables * which_.row_bytes; }

  void run(std::uint64_t call) {
    if (table_ != nullptr) return pool_by_gpu(call);
    require(cudaStreamSynchronize(stream_), "the copy before");
    if (which_.way == Way::kCpuPool) {
      pool_by_cpu(call, pinned_.get());
      return copy(out_.get(), out_bytes());
    }
    tensor_.gather(index_.on_host(call), std::span(pinned_.get(), num_rows() * which_.row_bytes));
    copy(moved_.get(), num_rows() * which_.row_bytes);
    require(sum_rows(moved_.get(), which_.row_bytes, which_.bag_rows, which_.num_bags() * which_.num_tables, out_.get(),
                     stream_),
            "sum_rows");
  }

  void copy(std::byte* dst, std::uint64_t size) {
    require(cudaMemcpyAsync(dst, pinned_.get(), size, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  }

  void pool_by_cpu(std::uint64_t call, std::byte* out) const {
    std::vector<PoolRequest> requests;
    for (std::uint64_t i = 0; i < which_.num_tables; ++i) {
      Bags bags;
      bags.index = index_.on_host(call).subspan(i * rows_of_table(), rows_of_table());
      bags.offsets = std::span(offsets_);
      requests.push_back({&tensor_, bags, out + i * which_.num_bags() * which_.row_bytes, which_.row_bytes});
    }
    pool(requests);
  }

  void pool_by_gpu(std::uint64_t call) const {
    std::vector<cuda::PoolRequest> requests;
    for (std::uint64_t i = 0; i < which_.num_tables; ++i) {
      cuda::Bags bags;
      bags.index = {index_.on_device(call) + i * rows_of_table(), rows_of_table()};
      bags.offsets = {reinterpret_cast<const std::int64_t*>(device_offsets_.get()), offsets_.size()};
      requests.push_back({table_, bags, out_.get() + i * which_.num_bags() * which_.row_bytes, which_.row_bytes});
    }
    cuda::pool(requests, stream_);
  }

  PoolCase which_;
  cudaStream_t stream_;
  const CompressedTensor& tensor_;
  const Index& index_;
  const cuda::Table* table_ = nullptr;
  DeviceMemory out_;
  PinnedMemory pinned_;
  DeviceMemory moved_;
  std::vector<std::int64_t> offsets_;
  DeviceMemory device_offsets_;
};

Json measured(const PoolCase& which, Data& data, cudaStream_t stream) {
  Json result = {{"name", which.name()},
                 {"way", kWayNames[static_cast<int>(which.way)]},
                 {"codec", stillbit::name(which.codec)},
                 {"row_bytes", which.row_bytes},
                 {"bag_rows", which.bag_rows},
                 {"tables", which.num_tables}};
  PoolBench bench(which, data, stream);
  if (!bench.is_exact()) throw std::runtime_error("not bit for bit what the CPU gives");
  Timing timing = measure(bench.work(), stream);
  std::sort(timing.seconds.begin(), timing.seconds.end());
  const double median = timing.seconds[timing.seconds.size() / 2];
  result["transfer_ratio"] = bench.transfer_ratio();
  result["repetitions_s"] = timing.seconds;
  result["median_s"] = median;
  result["lookups_per_s"] = static_cast<double>(bench.num_rows()) / median;
  result["raw_bytes_per_s"] = static_cast<double>(bench.num_rows() * which.row_bytes) / median;
  return result;
}

struct Arguments {
  double seconds = 180;
  std::string json_path;
  bool is_list = false;
};

int run(const Arguments& arguments) {
  const auto begin = std::chrono::steady_clock::now();
  Json document;
  const auto write = [&] {
    if (arguments.json_path.empty()) return;
    std::ofstream file(arguments.json_path);
    file << document.dump(1) << '\n';
    if (!file.flush()) throw std::runtime_error(arguments.json_path + ": cannot be written");
  };
  std::string why_not;
  if (cuda::num_devices(&why_not) == 0) {
    document["skipped"] = why_not;
    write();
    std::cout << "skipped: " << why_not << '\n';
    return 0;
  }
  document = {{"device", describe_device()}, {"cases", Json::array()}, {"not_measured", Json::array()}};
  cudaStream_t stream = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  std::optional<Data> data;
  int num_wrong = 0;
  for (const PoolCase& which : all_cases()) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > arguments.seconds) {
      document["not_measured"].push_back(which.name());
      continue;
    }
    if (!data || data->which() != which.data()) {
      data.reset();
      data.emplace(which.data());
    }
    try {
      document["cases"].push_back(measured(which, *data, stream));
      std::cout << which.name() << ": " << document["cases"].back()["lookups_per_s"].get<double>() / 1e6
                << " million lookups/s" << std::endl;
    } catch (const Skip& skip) {
      std::cout << which.name() << ": " << skip.why << std::endl;
    } catch (const std::exception& error) {
      std::cout << "WRONG " << which.name() << ": " << error.what() << std::endl;
      ++num_wrong;
    }
    write();  // what is there is kept whatever comes
    require(cudaDeviceSynchronize(), "the GPU");
  }
  write();
  return num_wrong == 0 ? 0 : 1;
}

int main_of(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string text = argv[i];
    if (text.rfind("--seconds=", 0) == 0) {
      arguments.seconds = std::strtod(text.c_str() + 10, nullptr);
    } else if (text.rfind("--json=", 0) == 0) {
      arguments.json_path = text.substr(7);
    } else if (text == "--list") {
      arguments.is_list = true;
    } else {
      std::cerr << "usage: stillbit_gpu_pool_bench [--seconds=N] [--json=FILE] [--list]\n";
      return 2;
    }
  }
  if (!arguments.is_list) return run(arguments);
  for (const PoolCase& which : all_cases()) std::cout << which.name() << '\n';
  return 0;
}

}  // namespace
}  // namespace stillbit::bench::gpu

int main(int argc, char** argv) {
  (void)::setenv("STILLBIT_CUDA_LIBRARY", STILLBIT_BUILT_CUDA_LIBRARY, 0);
  try {
    return stillbit::bench::gpu::main_of(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "stillbit_gpu_pool_bench: " << error.what() << '\n';
    return 1;
  }
}
