// The library with the CUDA code: what it gives the core.

#include "codecs/dictionary/kernels.cuh"
#include "codecs/escape/compress.cuh"
#include "codecs/escape/kernels.cuh"
#include "codecs/ibp/compress.cuh"
#include "codecs/ibp/kernels.cuh"
#include "codecs/rans/kernels.cuh"
#include "codecs/raw/compress.cuh"
#include "codecs/raw/kernels.cuh"
#include "codecs/sparse/kernels.cuh"
#include "codecs/window/compress.cuh"
#include "codecs/window/kernels.cuh"
#include "cuda/backend.hpp"
#include "cuda/device.hpp"
#include "cuda/device_table.hpp"
#include "cuda/pool.hpp"
#include "cuda/status.hpp"
#include "statistics/kernels.cuh"

#include <algorithm>
#include <exception>
#include <string>

namespace stillbit::cuda {
namespace {

/// What a codec's kernels do.
struct Kernels {
  Expand expand = nullptr;
  Pool pool = nullptr;
  Compress compress = nullptr;  ///< null where rows are only encoded on the CPU
};

/// The registry's counterpart.
Kernels kernels_of(Codec codec) {
  switch (codec) {
    case Codec::kRaw:
      return {raw::expand, raw::pool, raw::compress};
    case Codec::kIbp:
      return {ibp::expand, ibp::pool, ibp::compress};
    case Codec::kWindow:
      return {window::expand, window::pool, window::compress};
    case Codec::kEscape:
      return {escape::expand, escape::pool, escape::compress};
    case Codec::kRans:
      return {rans::expand, rans::pool, nullptr};
    case Codec::kSparse:
      return {sparse::expand, sparse::pool, nullptr};
    case Codec::kDictionary:
      return {dictionary::expand, dictionary::pool, nullptr};
    default:
      return {};
  }
}

void set(Failure* failure, ErrorCode code, const std::string& message) {
  failure->code = code;
  const std::size_t length = std::min(message.size(), sizeof failure->message - 1);
  std::copy_n(message.data(), length, failure->message);
  failure->message[length] = '\0';
}

/// Runs what returns a Result; exceptions (memory) end here, too.
template <class Body>
bool guarded(Failure* failure, const Body& body) {
  try {
    const Result<void> result = body();
    if (!result.ok()) set(failure, result.fault().code, result.fault().message);
    return result.ok();
  } catch (const std::exception& error) {
    set(failure, ErrorCode::kDevice, error.what());
    return false;
  }
}

bool get_count(int* count, Failure* failure) {
  return guarded(failure, [&]() -> Result<void> {
    STILLBIT_TRY(*count, count_devices());
    return {};
  });
}

bool count(const void* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones, void* stream,
           Failure* failure) {
  return guarded(failure, [&]() -> Result<void> {
    STILLBIT_TRY(const int device, device_of(rows, "rows"));
    STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(device));
    STILLBIT_TRY(const DeviceLimits limits, limits_of(device));
    const std::uint64_t ones_bytes = 8 * row_bytes * sizeof *ones;
    auto* const queue = static_cast<cudaStream_t>(stream);
    STILLBIT_TRY(const DeviceMemory counts, DeviceMemory::allocate(ones_bytes));
    STILLBIT_CUDA(cudaMemsetAsync(counts.data(), 0, ones_bytes, queue));
    const BitCount job{.src = static_cast<const std::byte*>(rows),
                       .num_rows = num_rows,
                       .row_bytes = row_bytes,
                       .ones = reinterpret_cast<std::uint64_t*>(counts.data())};
    STILLBIT_CHECK(check(count_bits(job, limits, queue), "the launch of a kernel"));
    STILLBIT_CUDA(cudaMemcpyAsync(ones, counts.data(), ones_bytes, cudaMemcpyDeviceToHost, queue));
    STILLBIT_CUDA(cudaStreamSynchronize(queue));
    return {};
  });
}

DeviceTable* create(const TableSource& source, const TableOptions& options, Failure* failure) {
  DeviceTable* made = nullptr;
  guarded(failure, [&]() -> Result<void> {
    const Kernels kernels = kernels_of(source.codec);
    if (kernels.expand == nullptr)
      return unsupported("codec number " + std::to_string(static_cast<unsigned>(source.codec)) + " has no GPU code");
    STILLBIT_TRY(auto table, DeviceTable::create(source, options, kernels.expand, kernels.pool, kernels.compress));
    made = table.release();
    return {};
  });
  return made;
}

void destroy(DeviceTable* table) {
  delete table;
}

TableMemory memory(const DeviceTable* table) {
  return table->memory();
}

bool gather(DeviceTable* table, const GatherJob& job, Failure* failure) {
  return guarded(failure, [&] { return table->gather(job); });
}

bool set_fast_rows(DeviceTable* table, const std::uint32_t* slots, const std::byte* rows, std::uint64_t num_fast_rows,
                   Failure* failure) {
  return guarded(failure, [&] { return table->set_fast_rows(slots, rows, num_fast_rows); });
}

bool pool_bags(const PoolJob* jobs, std::uint64_t num_jobs, std::uint32_t max_sms, void* stream, Failure* failure) {
  return guarded(failure, [&] {
    return pool({jobs, static_cast<std::size_t>(num_jobs)}, max_sms, static_cast<cudaStream_t>(stream));
  });
}

bool decompress(DeviceTable* table, void* out, void* stream, Failure* failure) {
  return guarded(failure,
                 [&] { return table->decompress(static_cast<std::byte*>(out), static_cast<cudaStream_t>(stream)); });
}

bool append(DeviceTable* table, const void* rows, std::uint64_t num_rows, void* stream, Failure* failure) {
  return guarded(failure, [&] {
    return table->append(static_cast<const std::byte*>(rows), num_rows, static_cast<cudaStream_t>(stream));
  });
}

bool update(DeviceTable* table, const std::int64_t* index, const void* rows, std::uint64_t num_rows, void* stream,
            Failure* failure) {
  return guarded(failure, [&] {
    return table->update(index, static_cast<const std::byte*>(rows), num_rows, static_cast<cudaStream_t>(stream));
  });
}

bool overflow_use(const DeviceTable* table, void* stream, warp::OverflowUse* use, Failure* failure) {
  return guarded(failure, [&]() -> Result<void> {
    STILLBIT_TRY(*use, table->overflow_use(static_cast<cudaStream_t>(stream)));
    return {};
  });
}

bool read_back(const DeviceTable* table, std::byte* rows, std::uint64_t rows_bytes, std::byte* overflow,
               std::uint64_t overflow_bytes, void* stream, Failure* failure) {
  return guarded(failure, [&] {
    return table->read_back({rows, static_cast<std::size_t>(rows_bytes)},
                            {overflow, static_cast<std::size_t>(overflow_bytes)}, static_cast<cudaStream_t>(stream));
  });
}

bool check_table(DeviceTable* table, void* stream, warp::Status* status, Failure* failure) {
  return guarded(failure, [&]() -> Result<void> {
    STILLBIT_TRY(*status, table->check(static_cast<cudaStream_t>(stream)));
    return {};
  });
}

constexpr Backend kBackend{.version = kBackendVersion,
                           .count_devices = get_count,
                           .count_bits = count,
                           .create = create,
                           .destroy = destroy,
                           .memory = memory,
                           .gather = gather,
                           .set_fast_rows = set_fast_rows,
                           .pool = pool_bags,
                           .decompress = decompress,
                           .append = append,
                           .update = update,
                           .overflow_use = overflow_use,
                           .read_back = read_back,
                           .check = check_table};

}  // namespace
}  // namespace stillbit::cuda

extern "C" [[gnu::visibility("default")]] const stillbit::cuda::Backend* stillbit_cuda_backend() {
  return &stillbit::cuda::kBackend;
}
