#include "bench/gpu/data.hpp"

#include <stillbit/error.hpp>
#include <stillbit/stillbit.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

namespace stillbit::bench::gpu {
namespace {

/// Values are made for so many bytes, and then come again, rotated: making more takes long.
constexpr std::uint64_t kDistinctBytes = std::uint64_t{64} << 20;

/// More than GPUs have of cache.
constexpr std::uint64_t kPastCachesBytes = std::uint64_t{256} << 20;

/// Rows of all calls together, after which the same ones come again.
constexpr std::uint64_t kPoolRows = std::uint64_t{1} << 21;

/// body(0) … body(n − 1) on as many threads.
void in_parallel(unsigned n, const std::function<void(unsigned)>& body) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < n; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

/// Fills `raw` with rows of which none is twice the same, or packed tensors would store it once.
void fill(const DataSet& which, std::byte* raw) {
  const unsigned num_threads = std::clamp(std::thread::hardware_concurrency(), 1U, 64U);
  const std::uint64_t num_rows = which.num_rows();
  const std::uint64_t distinct_rows = std::min(num_rows, kDistinctBytes / which.row_bytes);
  const unsigned element_bytes = num_bytes(which.dtype);
  const auto part = [&](std::uint64_t all, unsigned i) { return all * i / num_threads; };
  in_parallel(num_threads, [&](unsigned i) {
    const std::uint64_t first = part(distinct_rows, i);
    const std::uint64_t count = part(distinct_rows, i + 1) - first;
    const auto tensor =
        testing::make_tensor(which.dtype, {count, which.row_bytes / element_bytes}, which.values, 1 + i);
    std::memcpy(raw + first * which.row_bytes, tensor.data.data(), tensor.data.size());
  });
  in_parallel(num_threads, [&](unsigned i) {
    const std::uint64_t rest = num_rows - distinct_rows;
    for (std::uint64_t row = distinct_rows + part(rest, i); row < distinct_rows + part(rest, i + 1); ++row) {
      const std::byte* const src = raw + row % distinct_rows * which.row_bytes;
      const std::uint64_t by = row / distinct_rows * element_bytes % which.row_bytes;
      std::rotate_copy(src, src + by, src + which.row_bytes, raw + row * which.row_bytes);
    }
  });
}

}  // namespace

Data::Data(const DataSet& made_for)
    : which_(made_for), raw_(pinned_memory(made_for.num_bytes)), raw_on_device_(device_memory(made_for.num_bytes)) {
  fill(which_, raw_.get());
  require(cudaMemcpy(raw_on_device_.get(), raw_.get(), which_.num_bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}

const CompressedTensor& Data::tensor(Codec codec, Packing packing) {
  auto found = tensors_.find({codec, packing});
  if (found == tensors_.end()) {
    CompressOptions options;
    options.codec = codec;
    options.packing = packing;
    const TensorView view{
        raw_.get(), which_.dtype, {which_.num_rows(), which_.row_bytes / stillbit::num_bytes(which_.dtype)}};
    found = tensors_.emplace(TensorKey{codec, packing}, compress(view, options)).first;
  }
  if (found->second.codec() != codec) throw Skip{"stored raw: it would not be smaller"};
  return found->second;
}

const std::vector<cuda::Table>& Data::tables(Codec codec, Packing packing, cuda::Placement placement) {
  const CompressedTensor& stored = tensor(codec, packing);
  const auto found = tables_.find({codec, packing, placement});
  if (found != tables_.end()) return found->second;
  const std::uint64_t num_copies = std::clamp<std::uint64_t>(kPastCachesBytes / which_.num_bytes, 1, 64);
  std::vector<cuda::Table> made;
  for (std::uint64_t i = 0; i < num_copies; ++i) {
    try {
      made.emplace_back(stored, cuda::TableOptions{.placement = placement});
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kUnsupported) throw Skip{error.what()};
      throw;
    }
    if (made.back().memory().placement != placement) throw Skip{made.back().memory().note};
  }
  return tables_.emplace(TableKey{codec, packing, placement}, std::move(made)).first->second;
}

RegisteredMemory huge_pages(std::uint64_t size) {
  constexpr std::uint64_t kPageBytes = std::uint64_t{2} << 20;
  const std::uint64_t num_bytes = (size + kPageBytes - 1) / kPageBytes * kPageBytes;
  // One page more, so that a page's multiple is within.
  void* const mapped =
      ::mmap(nullptr, num_bytes + kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw Skip{"the system has no memory for huge pages"};
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::uint64_t in_front = (kPageBytes - reinterpret_cast<std::uintptr_t>(begin) % kPageBytes) % kPageBytes;
  std::byte* const pages = begin + in_front;
  if (in_front > 0) (void)::munmap(begin, in_front);
  (void)::munmap(pages + num_bytes, kPageBytes - in_front);
  const bool are_huge = ::madvise(pages, num_bytes, MADV_HUGEPAGE) == 0;
  if (are_huge) std::memset(pages, 0, num_bytes);
  if (!are_huge || cudaHostRegister(pages, num_bytes, cudaHostRegisterMapped) != cudaSuccess) {
    (void)cudaGetLastError();
    (void)::munmap(pages, num_bytes);
    throw Skip{are_huge ? "huge pages cannot be pinned" : "the system has no huge pages"};
  }
  return RegisteredMemory(pages, {num_bytes});
}

const std::byte* Data::raw_in(Pages pages, std::uint32_t shift_bytes) {
  if (pages == Pages::kCuda && shift_bytes == 0) return raw();
  auto found = raw_in_.find({pages, shift_bytes});
  if (found == raw_in_.end()) {
    const std::uint64_t size = which_.num_bytes + shift_bytes;
    RawMemory memory;
    if (pages == Pages::kHuge) {
      memory = huge_pages(size);
    } else {
      memory = pinned_memory(size, pages == Pages::kCuda ? cudaHostAllocDefault : cudaHostAllocWriteCombined);
    }
    std::visit([&](const auto& rows) { std::memcpy(rows.get() + shift_bytes, raw(), which_.num_bytes); }, memory);
    found = raw_in_.emplace(std::tuple{pages, shift_bytes}, std::move(memory)).first;
  }
  return std::visit([&](const auto& rows) { return rows.get() + shift_bytes; }, found->second);
}

const Index& Data::index(std::uint64_t size, Order order) {
  const auto found = indices_.find({size, order});
  if (found != indices_.end()) return found->second;
  Index index;
  index.size = size;
  index.host.resize(std::max(kPoolRows / size, std::uint64_t{1}) * size);
  const std::uint64_t num_rows = which_.num_rows();
  std::mt19937_64 random(1);
  for (std::int64_t& row : index.host) {
    std::uint64_t drawn = random() % num_rows;
    if (order == Order::kSkewed) {
      const double rank = std::pow(static_cast<double>(drawn) / static_cast<double>(num_rows), 8);
      // A large prime, so that rows often asked for do not lie together.
      drawn = static_cast<std::uint64_t>(rank * static_cast<double>(num_rows)) * 2654435761U % num_rows;
    }
    row = static_cast<std::int64_t>(drawn);
  }
  if (order == Order::kSorted) {
    for (auto at = index.host.begin(); at != index.host.end(); at += static_cast<std::ptrdiff_t>(size))
      std::sort(at, at + static_cast<std::ptrdiff_t>(size));
  }
  const std::uint64_t index_bytes = index.host.size() * sizeof(std::int64_t);
  index.device = device_memory(index_bytes);
  require(cudaMemcpy(index.device.get(), index.host.data(), index_bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  return indices_.emplace(std::tuple{size, order}, std::move(index)).first->second;
}

}  // namespace stillbit::bench::gpu
