#include "tests/cuda/tables.hpp"

#include "gpu/warp_codecs.hpp"
#include "gpu/warp_encoders.hpp"
#include "gpu/warp_table.hpp"
#include "warp/host_warp.hpp"

#include <algorithm>

namespace stillbit::testing {
namespace {

/// The memory of a launch's warp.
struct Played {
  explicit Played(const cuda::Launch& launch)
      : stages(std::size_t{launch.num_stages} * launch.stage_bytes / 16 + 1),
        scratch(warp::kScratchBytes / 16),
        work(launch.work_bytes / 16),
        num_warps(std::uint64_t{launch.num_blocks} * launch.num_warps) {}

  static std::byte* bytes(std::vector<uint4>& memory) { return reinterpret_cast<std::byte*>(memory.data()); }

  std::vector<uint4> stages;
  std::vector<uint4> scratch;
  std::vector<uint4> work;
  std::uint64_t num_warps;
};

bool fits(const cuda::Launch& launch) {
  return launch.shared_bytes <= static_cast<std::uint32_t>(FakeRuntime::get().shared_bytes_per_block);
}

template <class WarpCodec>
void play(const cuda::Expansion& job) {
  Played memory(job.launch);
  std::vector<warp::Item> items(job.launch.num_stages);
  const auto& plan = *static_cast<const typename WarpCodec::Plan*>(job.plan);
  const warp::Stages stages{Played::bytes(memory.stages), items.data(), Played::bytes(memory.scratch),
                            job.launch.stage_bytes, job.launch.num_stages};
  for (std::uint64_t number = 0; number < memory.num_warps; ++number) {
    warp::HostWarp warp;
    warp::expand<WarpCodec>(warp, job.table, plan, job.request, stages, number, memory.num_warps, job.status);
  }
}

template <class WarpCodec>
void play(const cuda::BagJob& job) {
  Played memory(job.launch);
  const warp::BagStages stages{Played::bytes(memory.stages), Played::bytes(memory.scratch),
                               Played::bytes(memory.work),   job.memory,
                               job.launch.stage_bytes,       job.launch.num_stages};
  const warp::BagTables tables{job.tables, job.num_tables, job.launch.batch_items, job.num_batches};
  for (std::uint64_t number = 0; number < memory.num_warps; ++number) {
    warp::HostWarp warp;
    warp::pool<WarpCodec>(warp, tables, stages, number, memory.num_warps);
  }
}

template <class Encoder>
void play(const cuda::Compression& job) {
  Played memory(job.launch);
  const std::uint32_t num_stages = job.launch.num_stages - 1;
  std::vector<warp::CompressItem> items(num_stages);
  const auto& plan = *static_cast<const typename Encoder::Plan*>(job.plan);
  auto* const data = Played::bytes(memory.stages);
  const warp::CompressStages stages{data,
                                    items.data(),
                                    data + std::uint64_t{num_stages} * job.launch.stage_bytes,
                                    Played::bytes(memory.scratch),
                                    job.launch.stage_bytes,
                                    num_stages};
  for (std::uint64_t number = 0; number < memory.num_warps; ++number) {
    warp::HostWarp warp;
    warp::compress<Encoder>(warp, job.table, plan, job.request, stages, number, memory.num_warps, job.status);
  }
}

/// What stands for a codec's kernels.
template <Codec kCodec>
struct OnCpu {
  template <class Job>
  static cudaError_t launch(unsigned view_bytes, const Job& job, cudaStream_t stream) {
    if (!fits(job.launch)) return cudaErrorInvalidValue;
    FakeRuntime::enqueue(stream, [view_bytes, job] {
      with_warp_codec(kCodec, view_bytes, [&](auto found) { play<decltype(found)>(job); });
    });
    return cudaSuccess;
  }

  static cudaError_t compress(unsigned view_bytes, const cuda::Compression& job, cudaStream_t stream) {
    FakeRuntime::enqueue(stream, [view_bytes, job] {
      with_warp_encoder(kCodec, view_bytes, [&](auto found) { play<decltype(found)>(job); });
    });
    return cudaSuccess;
  }
};

/// Calls `body` with the stand-ins for a codec's kernels.
template <class Body>
auto with_kernels_of(Codec codec, const Body& body) {
  switch (codec) {
    case Codec::kIbp:
      return body(OnCpu<Codec::kIbp>());
    case Codec::kWindow:
      return body(OnCpu<Codec::kWindow>());
    case Codec::kEscape:
      return body(OnCpu<Codec::kEscape>());
    case Codec::kSparse:
      return body(OnCpu<Codec::kSparse>());
    case Codec::kDictionary:
      return body(OnCpu<Codec::kDictionary>());
    case Codec::kRans:
      return body(OnCpu<Codec::kRans>());
    default:
      return body(OnCpu<Codec::kRaw>());
  }
}

}  // namespace

void Tables::SetUp() {
  FakeRuntime::reset();
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, 0), cudaSuccess);
}

void Tables::TearDown() {
  ASSERT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  EXPECT_EQ(FakeRuntime::get().num_allocations, 0U);
  EXPECT_EQ(FakeRuntime::get().registered_bytes, 0U);
  EXPECT_EQ(FakeRuntime::get().num_streams, 0U);
  EXPECT_EQ(FakeRuntime::get().num_events, 0U);
}

CompressedTensor Tables::compressed(Codec codec, Packing packing, std::vector<std::uint64_t> shape, Values values) {
  CompressOptions options;
  options.codec = codec;
  options.packing = packing;
  return compress(make_tensor(DType::kBF16, std::move(shape), values, 3).view(), options);
}

Result<std::unique_ptr<cuda::DeviceTable>> Tables::table_of(const CompressedTensor& tensor,
                                                            const cuda::TableOptions& options) {
  const format::Payload sections = tensor.impl().sections();
  const warp::PlanBytes plan = tensor.impl().codec->warp_plan();
  const warp::PlanBytes encode_plan = tensor.impl().codec->warp_encode_plan();
  cuda::TableSource source;
  source.table = warp_table(tensor.impl().header).value();
  source.table.map = sections.map.data();
  source.table.index = sections.index.data();
  source.table.rows = sections.rows.data();
  source.table.overflow = sections.overflow.data();
  source.map_bytes = sections.map.size();
  source.index_bytes = sections.index.size();
  source.codec = tensor.codec();
  source.view_bytes = plan.view_bytes;
  source.tiles_per_row = tiles_per_row(source.table);
  source.plan = plan.bytes.data();
  source.plan_bytes = plan.bytes.size();
  source.encode_plan = encode_plan.bytes.data();
  source.encode_plan_bytes = encode_plan.bytes.size();
  source.element = warp_element(tensor.dtype());
  source.piece_bytes = std::uint64_t{1} << 20;
  return with_kernels_of(tensor.codec(), [&]<class Kernels>(Kernels) {
    cuda::Compress compress = nullptr;
    if (has_warp_encoder(tensor.codec())) compress = Kernels::compress;
    return cuda::DeviceTable::create(source, options, Kernels::template launch<cuda::Expansion>,
                                     Kernels::template launch<cuda::BagJob>, compress);
  });
}

std::vector<std::byte> Tables::expected(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  return out;
}

void Tables::expect_expands(cuda::DeviceTable& table, const CompressedTensor& tensor) {
  const cuda::DeviceMemory out = on_device(tensor.raw_bytes());
  ASSERT_TRUE(table.decompress(out.data(), stream_).ok());
  ASSERT_EQ(table.check(stream_).value().fault, 0U);
  const std::vector<std::byte> all = expected(tensor);
  EXPECT_TRUE(std::equal(all.begin(), all.end(), out.data()));
}

}  // namespace stillbit::testing

/// In place of the kernel.
cudaError_t stillbit::cuda::find_last_writers(const Compression& job, const DeviceLimits&, cudaStream_t stream) {
  testing::FakeRuntime::enqueue(stream, [job] {
    warp::HostWarp warp;
    warp::find_last_writers(warp, job.request.last_writers, job.request.index,
                            static_cast<std::uint32_t>(job.request.num_rows), job.table.num_rows, 0, 1, job.status);
  });
  return cudaSuccess;
}
