// What is measured on a GPU: points on the axes job, codec, packing, dtype, values, row width, batch, order of the
// index, and multiprocessors.

#pragma once

#include "bench/gpu/raw_gather.hpp"
#include "tests/support/make_tensor.hpp"

#include <stillbit/options.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace stillbit::bench::gpu {

enum class Job : std::uint8_t {
  // What others are held against.
  kCopyToDevice,  ///< the raw tensor, from pinned memory, by the copy engine
  kCopyToHost,    ///< the raw tensor, to pinned memory, by the copy engine
  kCopyOnDevice,  ///< the raw tensor, within the GPU's memory
  kReadAndWrite,  ///< a kernel that reads as many bytes as are stored, writes as many as are raw, and does nothing else
  kGatherByCpu,   ///< the CPU expands rows into pinned memory, and the copy engine moves them
  // Stillbit; with Codec::kRaw, reading raw rows over the link without copying them first.
  kGatherPinned,
  kGatherDevice,
  kGatherRaw,         ///< raw rows over the link, without the library: RawRead says how
  kDecompressPinned,  ///< in pieces by the copy engine, each expanded while the next one is moved
  kDecompressDevice,
  kCompressPinned,  ///< rows in the GPU's memory into slots in pinned memory
  kCompressDevice,
};

enum class Order : std::uint8_t {
  kRandom,
  kSorted,
  kSkewed,  ///< 56 % of the requests are for 1 % of the rows
};

/// How raw rows are pinned.
enum class Pages : std::uint8_t {
  kCuda,           ///< by cudaHostAlloc
  kWriteCombined,  ///< the same, past the CPU's caches
  kHuge,           ///< of 2 MiB, where the system has them, and registered
};

/// A way to read raw rows over the link.
struct RawRead {
  Fetch fetch = Fetch::kCopies;
  std::uint32_t depth = 8;  ///< RawGather::depth
  Pages pages = Pages::kCuda;
  std::uint32_t shift_bytes = 0;  ///< from a line of memory to the first row; a multiple of 16

  [[nodiscard]] bool operator==(const RawRead&) const = default;
};

// As they stand in names of cases and in results.
std::string name(Job job);
std::string name(Order order);
std::string name(Fetch fetch);
std::string name(Pages pages);
std::string name(DType dtype);
std::string name(testing::Values values);

struct DataSet {
  DType dtype = DType::kBF16;
  testing::Values values = testing::Values::kNormal;
  std::uint64_t row_bytes = 0;
  std::uint64_t num_bytes = 0;

  [[nodiscard]] std::uint64_t num_rows() const { return num_bytes / row_bytes; }
  [[nodiscard]] bool operator==(const DataSet&) const = default;
};

struct Case {
  Job job = Job::kCopyToDevice;
  DataSet data;
  Codec codec = Codec::kRaw;
  Packing packing = Packing::kSlotted;
  std::uint64_t num_index = 0;  ///< rows of a gather; else 0
  Order order = Order::kRandom;
  std::uint32_t max_sms = 0;  ///< 0: as many as the library takes by itself
  RawRead raw{};              ///< of kGatherRaw

  [[nodiscard]] bool is_gather() const {
    return job == Job::kGatherPinned || job == Job::kGatherDevice || job == Job::kGatherByCpu || is_raw();
  }
  [[nodiscard]] bool is_raw() const { return job == Job::kGatherRaw; }
  [[nodiscard]] bool is_copy() const {
    return job == Job::kCopyToDevice || job == Job::kCopyToHost || job == Job::kCopyOnDevice;
  }
  [[nodiscard]] bool operator==(const Case&) const = default;

  /// "gather_pinned/codec:escape/packing:slotted/dtype:bf16/…"
  [[nodiscard]] std::string name() const;
};

/// Each case once: those that goals are about first, and of equally important ones those on the same data together.
std::vector<Case> all_cases(std::uint32_t num_sms);

}  // namespace stillbit::bench::gpu
