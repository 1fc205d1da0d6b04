#include "bench/gpu/work.hpp"

#include "bench/gpu/kernels.hpp"
#include "bench/gpu/raw_gather.hpp"

#include <memory>
#include <numeric>

namespace stillbit::bench::gpu {
namespace {

Work copy_work(const Case& which, const Data& data, const Outputs& outputs) {
  const bool is_to_host = which.job == Job::kCopyToHost;
  const cudaMemcpyKind kind = is_to_host                        ? cudaMemcpyDeviceToHost
                              : which.job == Job::kCopyToDevice ? cudaMemcpyHostToDevice
                                                                : cudaMemcpyDeviceToDevice;
  const std::byte* const src = kind == cudaMemcpyHostToDevice ? data.raw() : data.raw_on_device();
  std::byte* const dst = is_to_host ? outputs.pinned.get() : outputs.device.get();
  const std::uint64_t num_bytes = which.data.num_bytes;
  Work work;
  work.run = [=](std::uint64_t, cudaStream_t stream) {
    require(cudaMemcpyAsync(dst, src, num_bytes, kind, stream), "cudaMemcpyAsync");
  };
  if (is_to_host) {
    work.expand = [=, out = outputs.device.get()](cudaStream_t stream) {
      require(cudaMemcpyAsync(out, dst, num_bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
    };
  }
  work.verified_rows = which.data.num_rows();
  work.raw_bytes = work.stored_bytes = num_bytes;
  return work;
}

/// What all jobs on a compressed tensor have.
Work tensor_work(const Case& which, Data& data) {
  const CompressedTensor& tensor = data.tensor(which.codec, which.packing);
  Work work;
  work.ratio = tensor.ratio();
  work.transfer_ratio = tensor.transfer_ratio();
  work.raw_bytes = which.data.num_bytes;
  work.stored_bytes = tensor.stored_bytes();
  work.verified_rows = which.data.num_rows();
  if (which.is_gather()) {
    const Index& index = data.index(which.num_index, which.order);
    work.raw_bytes = which.num_index * which.data.row_bytes;
    work.stored_bytes = static_cast<std::uint64_t>(static_cast<double>(work.raw_bytes) / work.transfer_ratio);
    work.verified_rows = which.num_index;
    work.verified_index = index.on_device(0);
  }
  return work;
}

Work read_and_write_work(const Case& which, Data& data, const Outputs& outputs) {
  Work work = tensor_work(which, data);
  work.verified_rows = 0;
  work.run = [in = data.raw_on_device(), in_bytes = work.stored_bytes, out = outputs.device.get(),
              out_bytes = work.raw_bytes](std::uint64_t, cudaStream_t stream) {
    require(read_and_write(in, in_bytes, out, out_bytes, stream), "read_and_write");
  };
  return work;
}

Work gather_by_cpu_work(const Case& which, Data& data, const Outputs& outputs) {
  Work work = tensor_work(which, data);
  work.is_on_cpu = true;
  work.run = [&tensor = data.tensor(which.codec, which.packing), &index = data.index(which.num_index, which.order),
              rows = std::span(outputs.pinned.get(), work.raw_bytes),
              dst = outputs.device.get()](std::uint64_t call, cudaStream_t stream) {
    require(cudaStreamSynchronize(stream), "the copy before");
    tensor.gather(index.on_host(call), rows);
    require(cudaMemcpyAsync(dst, rows.data(), rows.size(), cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
  };
  return work;
}

Work gather_work(const Case& which, Data& data, const Outputs& outputs) {
  const auto placement = which.job == Job::kGatherPinned ? cuda::Placement::kPinned : cuda::Placement::kDevice;
  const cuda::Table& table = data.tables(which.codec, which.packing, placement).front();
  Work work = tensor_work(which, data);
  work.run = [&table, &index = data.index(which.num_index, which.order), out = outputs.device.get(),
              max_sms = which.max_sms](std::uint64_t call, cudaStream_t stream) {
    table.gather(index.on_device(call), index.size, out, stream, {.max_sms = max_sms});
  };
  work.check = [&table](cudaStream_t stream) { table.check(stream); };
  return work;
}

Work gather_raw_work(const Case& which, Data& data, const Outputs& outputs) {
  if (!can_gather_raw(which.raw.fetch)) throw Skip{"this GPU has no bulk copies"};
  int device = 0;
  int shared_bytes = 0;
  require(cudaGetDevice(&device), "cudaGetDevice");
  require(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "cudaDeviceGetAttribute");
  const Index& index = data.index(which.num_index, which.order);
  const RawGather job{.rows = data.raw_in(which.raw.pages, which.raw.shift_bytes),
                      .row_bytes = which.data.row_bytes,
                      .num_index = index.size,
                      .out = outputs.device.get(),
                      .fetch = which.raw.fetch,
                      .depth = which.raw.depth,
                      .num_sms = which.max_sms};
  const auto most_shared = static_cast<std::uint32_t>(shared_bytes);
  Work work;
  work.run = [job, &index, most_shared](std::uint64_t call, cudaStream_t stream) {
    RawGather of_call = job;
    of_call.index = index.on_device(call);
    require(gather_raw(of_call, most_shared, stream), "gather_raw");
  };
  work.raw_bytes = work.stored_bytes = index.size * which.data.row_bytes;
  work.verified_rows = index.size;
  work.verified_index = index.on_device(0);
  work.bytes_in_flight = bytes_in_flight(job, most_shared);
  return work;
}

Work decompress_work(const Case& which, Data& data, const Outputs& outputs) {
  const auto placement = which.job == Job::kDecompressPinned ? cuda::Placement::kPinned : cuda::Placement::kDevice;
  const std::vector<cuda::Table>& tables = data.tables(which.codec, which.packing, placement);
  Work work = tensor_work(which, data);
  work.run = [&tables, out = outputs.device.get(), size = work.raw_bytes](std::uint64_t call, cudaStream_t stream) {
    const std::uint64_t copy = call % tables.size();
    tables[copy].decompress(out + copy * size, stream);
  };
  work.check = [&table = tables.front()](cudaStream_t stream) { table.check(stream); };
  return work;
}

/// A table that is filled by the first call, and in which later ones replace all rows: their slots and tails are the
/// same, and so is what the kernel does but for a pass over the index.
class Compressing {
 public:
  Compressing(const Case& which, const CompressedTensor& tensor, const std::byte* rows)
      : rows_(rows),
        num_rows_(which.data.num_rows()),
        index_(device_memory(num_rows_ * sizeof(std::int64_t))),
        table_(tensor,
               {.placement = which.job == Job::kCompressPinned ? cuda::Placement::kPinned : cuda::Placement::kDevice,
                .capacity_rows = num_rows_,
                .overflow_bytes = which.data.num_bytes / 8,
                .is_empty = true}) {
    std::vector<std::int64_t> index(num_rows_);
    std::iota(index.begin(), index.end(), std::int64_t{0});
    require(cudaMemcpy(index_.get(), index.data(), num_rows_ * sizeof(std::int64_t), cudaMemcpyHostToDevice),
            "cudaMemcpy");
  }

  void run(cudaStream_t stream) {
    if (table_.num_rows() == 0) {
      table_.append(rows_, num_rows_, stream);
    } else {
      table_.update(reinterpret_cast<const std::int64_t*>(index_.get()), rows_, num_rows_, stream);
    }
  }

  [[nodiscard]] const cuda::Table& table() const { return table_; }

 private:
  const std::byte* rows_;
  std::uint64_t num_rows_;
  DeviceMemory index_;
  cuda::Table table_;
};

Work compress_work(const Case& which, Data& data, const Outputs& outputs) {
  Work work = tensor_work(which, data);
  const auto compressing =
      std::make_shared<Compressing>(which, data.tensor(which.codec, which.packing), data.raw_on_device());
  const cuda::TableMemory& memory = compressing->table().memory();
  if (!memory.note.empty()) throw Skip{memory.note};
  work.run = [compressing](std::uint64_t, cudaStream_t stream) { compressing->run(stream); };
  work.expand = [compressing, out = outputs.device.get()](cudaStream_t stream) {
    compressing->table().decompress(out, stream);
  };
  work.check = [compressing](cudaStream_t stream) { compressing->table().check(stream); };
  return work;
}

std::uint64_t num_different(const std::byte* rows, std::uint64_t row_bytes, const std::int64_t* index,
                            std::uint64_t num_rows, const Outputs& outputs, cudaStream_t stream) {
  auto* const count = reinterpret_cast<unsigned long long*>(outputs.count.get());
  unsigned long long found = 0;
  require(cudaMemsetAsync(count, 0, sizeof found, stream), "cudaMemsetAsync");
  require(count_different(rows, row_bytes, index, outputs.device.get(), num_rows, count, stream), "count_different");
  require(cudaMemcpyAsync(&found, count, sizeof found, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
  require(cudaStreamSynchronize(stream), "what was put on the stream");
  return found;
}

}  // namespace

Work prepare(const Case& which, Data& data, const Outputs& outputs) {
  switch (which.job) {
    case Job::kCopyToDevice:
    case Job::kCopyToHost:
    case Job::kCopyOnDevice:
      return copy_work(which, data, outputs);
    case Job::kReadAndWrite:
      return read_and_write_work(which, data, outputs);
    case Job::kGatherByCpu:
      return gather_by_cpu_work(which, data, outputs);
    case Job::kGatherPinned:
    case Job::kGatherDevice:
      return gather_work(which, data, outputs);
    case Job::kGatherRaw:
      return gather_raw_work(which, data, outputs);
    case Job::kCompressPinned:
    case Job::kCompressDevice:
      return compress_work(which, data, outputs);
    default:
      return decompress_work(which, data, outputs);
  }
}

bool is_exact(const Work& work, const Data& data, const Outputs& outputs, cudaStream_t stream) {
  require(cudaMemsetAsync(outputs.device.get(), 0xA5, work.raw_bytes, stream), "cudaMemsetAsync");
  work.run(0, stream);
  if (work.expand) work.expand(stream);
  require(cudaStreamSynchronize(stream), "the first call");
  if (work.check) work.check(stream);
  return work.verified_rows == 0 || num_different(data.raw_on_device(), data.which().row_bytes, work.verified_index,
                                                  work.verified_rows, outputs, stream) == 0;
}

void require_that_errors_are_found(const Outputs& outputs, cudaStream_t stream) {
  constexpr std::uint64_t kRowBytes = 256;
  constexpr std::uint64_t kRows = 1000;
  const DeviceMemory rows = device_memory(kRowBytes * kRows);
  require(cudaMemsetAsync(rows.get(), 1, kRowBytes * kRows, stream), "cudaMemsetAsync");
  require(cudaMemsetAsync(outputs.device.get(), 1, kRowBytes * kRows, stream), "cudaMemsetAsync");
  require(cudaMemsetAsync(outputs.device.get() + kRowBytes * kRows - 1, 2, 1, stream), "cudaMemsetAsync");
  if (num_different(rows.get(), kRowBytes, nullptr, kRows, outputs, stream) != 1)
    throw std::runtime_error("a wrong byte is not found: nothing can be verified");
}

}  // namespace stillbit::bench::gpu
