#include <stillbit/pool.hpp>

#include "bags/bag_pooler.hpp"
#include "api/compressed_tensor.hpp"
#include "bags/slot_pooler.hpp"
#include "core/checked.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <deque>
#include <string>

namespace stillbit {
namespace {

/// Bytes of rows that one task pools; less than two tasks are not worth a thread.
constexpr std::uint64_t kTaskRowBytes = std::uint64_t{512} << 10;

Result<void> check_offsets(const Bags& bags, std::uint64_t num_index) {
  const Integers offsets(bags.offsets);
  if (bags.has_last_offset && offsets.size() == 0) return invalid("offsets that say where the last bag ends are empty");
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < offsets.size(); ++i) {
    const std::uint64_t offset = offsets[i];
    if (offset >= before && offset <= num_index) {
      before = offset;
      continue;
    }
    return invalid("offset " + std::to_string(static_cast<std::int64_t>(offset)) + " at position " + std::to_string(i) +
                   " is below the one before, or above " + std::to_string(num_index) + ", the numbers of the index");
  }
  return {};
}

/// All that can be wrong with a request, before anything is written.
Result<void> check_request(const PoolRequest& request) {
  const format::PayloadHeader& header = request.tensor->impl().header;
  const Bags& bags = request.bags;
  if (pooling::kernels(header.dtype) == nullptr)
    return unsupported("rows of F16, BF16, F32 and F64 can be pooled, not of " + std::string(name(header.dtype)));
  const std::uint64_t num_index = Integers(bags.index).size();
  STILLBIT_CHECK(check_offsets(bags, num_index));
  if (bags.weights) {
    if (bags.mode != PoolMode::kSum) return invalid("rows are weighted in sums only");
    if (bags.weights->size() != num_index * num_bytes(header.dtype))
      return invalid("weights of " + std::to_string(bags.weights->size()) + " bytes are not one of dtype " +
                     std::string(name(header.dtype)) + " for each of " + std::to_string(num_index) + " rows");
  }
  if (request.out_stride < header.geometry.row_bytes)
    return invalid("results that lie " + std::to_string(request.out_stride) + " bytes apart overlap: each has " +
                   std::to_string(header.geometry.row_bytes));
  if (bags.num_bags() == 0) return {};
  const PoolWork work(request);
  const std::uint64_t first = work.begin_of(0);
  const std::uint64_t count = work.end_of(bags.num_bags() - 1) - first;
  return std::visit(
      [&](const auto& index) { return check_indices(index.subspan(first, count), header.geometry.num_rows); },
      bags.index);
}

/// Bags of one request that a thread pools.
struct Task {
  const PoolWork* work;
  std::uint64_t first_bag;
  std::uint64_t last_bag;
};

/// The first bag that begins at or behind a position of the index.
std::uint64_t first_bag_from(const PoolWork& work, std::uint64_t position) {
  std::uint64_t low = 0;
  for (std::uint64_t high = work.num_bags; low < high;) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (work.begin_of(middle) < position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Cuts the bags of a request where about as many rows lie between.
void add_tasks(const PoolWork& work, std::vector<Task>& tasks) {
  if (work.num_bags == 0 || work.row_bytes == 0) return;
  const std::uint64_t begin = work.begin_of(0);
  const std::uint64_t num_positions = work.end_of(work.num_bags - 1) - begin;
  const std::uint64_t rows_each = std::max<std::uint64_t>(1, kTaskRowBytes / work.row_bytes);
  std::uint64_t bag = 0;
  for (std::uint64_t at = rows_each; at < num_positions; at += rows_each) {
    const std::uint64_t next = first_bag_from(work, begin + at);
    if (next == bag) continue;
    tasks.push_back({&work, bag, next});
    bag = next;
  }
  if (bag < work.num_bags) tasks.push_back({&work, bag, work.num_bags});
}

Result<void> run(const std::vector<Task>& tasks, unsigned num_threads) {
  // To ask the system for its processors takes as long as a few rows do.
  const unsigned most_threads = tasks.size() == 1 ? 1 : cpu::resolve_threads(num_threads);
  std::vector<HotRows> hot_rows(std::min<std::size_t>(most_threads, tasks.size()));
  return cpu::parallel_for(tasks.size(), most_threads, [&](std::uint64_t i, unsigned worker) {
    const Task& task = tasks[i];
    if (SlotPooler::can_pool(*task.work))
      return SlotPooler(*task.work, hot_rows[worker], task.first_bag, task.last_bag).run();
    return BagPooler(*task.work, hot_rows[worker], task.first_bag, task.last_bag).run();
  });
}

}  // namespace

std::uint64_t Bags::num_bags() const {
  const std::uint64_t num_offsets = Integers(offsets).size();
  return has_last_offset && num_offsets > 0 ? num_offsets - 1 : num_offsets;
}

void pool(std::span<const PoolRequest> requests, unsigned num_threads) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Result<void> checked = check_request(requests[i]);
    if (!checked.ok() && requests.size() > 1)
      unwrap(Result<void>(in_context("table " + std::to_string(i), checked.fault())));
    unwrap(checked);
  }
  std::deque<PoolWork> works;  // which tasks point to
  std::vector<Task> tasks;
  for (const PoolRequest& request : requests) add_tasks(works.emplace_back(request), tasks);
  if (!tasks.empty()) unwrap(run(tasks, num_threads));
}

void CompressedTensor::pool(const Bags& bags, std::span<std::byte> out, unsigned num_threads) const {
  const auto wanted = checked_mul(bags.num_bags(), row_bytes());
  if (!wanted || *wanted != out.size())
    unwrap(Result<void>(invalid(std::to_string(bags.num_bags()) + " bags take " + std::to_string(bags.num_bags()) +
                                " × " + std::to_string(row_bytes()) + " bytes, the memory given has " +
                                std::to_string(out.size()))));
  const PoolRequest request{this, bags, out.data(), row_bytes()};
  stillbit::pool({&request, 1}, num_threads);
}

}  // namespace stillbit
