// GB/s of compressing, decompressing and gathering, beside memcpy and a raw gather of the same bytes in the same run.
//
// Every number is bytes of raw tensor per second, so that they compare. Times are of one machine at one moment: quote
// the ratio to memcpy, not the GB/s.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <tuple>

namespace {

using namespace stillbit;
using testing::OwnedTensor;
using testing::Values;

struct Case {
  const char* name;
  DType dtype;
  Values values;
  std::uint64_t row_elements;
};

const Case kCases[] = {
    {"f32 weights", DType::kF32, Values::kNormal, 1024},
    {"bf16 weights", DType::kBF16, Values::kNormal, 1024},
    {"f32 bag of words", DType::kF32, Values::kBagOfWords, 1024},
    {"f64 weights", DType::kF64, Values::kNormal, 256},
};

/// Raw bytes of each tensor: past all caches.
constexpr std::uint64_t kBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kGatherRows = 65536;

struct Prepared {
  OwnedTensor tensor;
  std::vector<std::byte> out;
  std::vector<std::int64_t> index;
  std::map<Packing, std::unique_ptr<CompressedTensor>> compressed;
};

CompressOptions options_for(Packing packing, unsigned num_threads) {
  CompressOptions options;
  options.codec = Codec::kIbp;
  options.packing = packing;
  options.num_threads = num_threads;
  return options;
}

/// Made once for each case; the round trip is checked before anything is timed. The last case's memory is given back.
Prepared& prepare(const Case& which) {
  static const Case* current = nullptr;
  static Prepared prepared;
  if (current == &which) return prepared;
  current = &which;
  prepared = {};
  const std::uint64_t row_bytes = which.row_elements * num_bytes(which.dtype);
  const std::uint64_t num_rows = kBytes / row_bytes;
  prepared.tensor = testing::make_tensor(which.dtype, {num_rows, which.row_elements}, which.values, 1);
  prepared.out.resize(kBytes);
  std::mt19937_64 random(1);
  for (std::uint64_t i = 0; i < kGatherRows; ++i)
    prepared.index.push_back(static_cast<std::int64_t>(random() % num_rows));
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    auto tensor = std::make_unique<CompressedTensor>(compress(prepared.tensor.view(), options_for(packing, 0)));
    tensor->decompress(prepared.out);
    if (prepared.out != prepared.tensor.data) {
      std::cerr << which.name << ": the round trip is not exact\n";
      std::exit(1);
    }
    prepared.compressed[packing] = std::move(tensor);
  }
  return prepared;
}

void set_bytes(benchmark::State& state, std::uint64_t bytes_per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes_per_iteration) * state.iterations());
}

void bench_memcpy(benchmark::State& state, const Case& which) {
  Prepared& prepared = prepare(which);
  for (auto _ : state) {
    std::memcpy(prepared.out.data(), prepared.tensor.data.data(), kBytes);
    benchmark::ClobberMemory();
  }
  set_bytes(state, kBytes);
}

void bench_compress(benchmark::State& state, const Case& which, Packing packing, unsigned num_threads) {
  Prepared& prepared = prepare(which);
  double ratio = 0;
  for (auto _ : state) {
    const CompressedTensor tensor = compress(prepared.tensor.view(), options_for(packing, num_threads));
    ratio = tensor.ratio();
  }
  set_bytes(state, kBytes);
  state.counters["ratio"] = ratio;
}

void bench_decompress(benchmark::State& state, const Case& which, Packing packing, unsigned num_threads) {
  Prepared& prepared = prepare(which);
  const CompressedTensor& tensor = *prepared.compressed[packing];
  for (auto _ : state) {
    tensor.decompress(prepared.out, num_threads);
    benchmark::ClobberMemory();
  }
  set_bytes(state, kBytes);
  state.counters["ratio"] = tensor.ratio();
}

void bench_raw_gather(benchmark::State& state, const Case& which) {
  Prepared& prepared = prepare(which);
  const std::uint64_t row_bytes = which.row_elements * num_bytes(which.dtype);
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < kGatherRows; ++i) {
      constexpr std::uint64_t kAhead = 16;
      if (i + kAhead < kGatherRows) {
        const std::byte* next =
            prepared.tensor.data.data() + static_cast<std::uint64_t>(prepared.index[i + kAhead]) * row_bytes;
        for (std::uint64_t line = 0; line < row_bytes; line += 64) __builtin_prefetch(next + line, 0, 2);
      }
      const std::uint64_t to = i * row_bytes % kBytes;
      std::memcpy(prepared.out.data() + to,
                  prepared.tensor.data.data() + static_cast<std::uint64_t>(prepared.index[i]) * row_bytes, row_bytes);
    }
    benchmark::ClobberMemory();
  }
  set_bytes(state, kGatherRows * row_bytes);
}

void bench_gather(benchmark::State& state, const Case& which, Packing packing, unsigned num_threads) {
  Prepared& prepared = prepare(which);
  const CompressedTensor& tensor = *prepared.compressed[packing];
  const std::uint64_t row_bytes = tensor.row_bytes();
  // As many rows as the output holds.
  const std::uint64_t count = std::min<std::uint64_t>(kGatherRows, kBytes / row_bytes);
  for (auto _ : state) {
    tensor.gather(std::span(prepared.index).first(count), std::span(prepared.out).first(count * row_bytes),
                  num_threads);
    benchmark::ClobberMemory();
  }
  set_bytes(state, count * row_bytes);
  state.counters["transfer"] = tensor.transfer_ratio();
}

void register_all() {
  for (const Case& which : kCases) {
    const auto add = [&](const std::string& what, auto body) {
      benchmark::RegisterBenchmark((std::string(which.name) + "/" + what).c_str(), body)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    };
    add("memcpy", [&](benchmark::State& state) { bench_memcpy(state, which); });
    add("raw gather", [&](benchmark::State& state) { bench_raw_gather(state, which); });
    for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
      for (const unsigned threads : {1U, 2U}) {
        const std::string suffix = std::string(name(packing)) + "/threads:" + std::to_string(threads);
        add("compress/" + suffix,
            [&, packing, threads](benchmark::State& state) { bench_compress(state, which, packing, threads); });
        add("decompress/" + suffix,
            [&, packing, threads](benchmark::State& state) { bench_decompress(state, which, packing, threads); });
        add("gather/" + suffix,
            [&, packing, threads](benchmark::State& state) { bench_gather(state, which, packing, threads); });
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
