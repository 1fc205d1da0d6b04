#include "cuda/pool.hpp"

#include "cuda/device.hpp"
#include "cuda/device_table.hpp"
#include "cuda/status.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace stillbit::cuda {
namespace {

/// A table with its bags, as a launch takes it.
struct Checked {
  DeviceTable* table = nullptr;
  warp::BagTable bags;
};

/// A launch of the tables, with its memory.
BagJob job_of(std::span<const Checked> tables, const DeviceLimits& limits, const Policy& policy) {
  BagJob job;
  std::uint32_t stage_bytes = 0;
  std::uint64_t num_bags = 0;
  for (const Checked& each : tables) {
    job.tables[job.num_tables++] = each.bags;
    job.memory.hold(each.bags);
    stage_bytes = std::max(stage_bytes, warp::stage_bytes_for(each.bags.table));
    num_bags += each.bags.request.num_bags;
  }
  job.launch = choose_launch(stage_bytes, num_bags, limits, policy, job.memory.num_bytes());
  for (std::uint32_t i = 0; i < job.num_tables; ++i) {
    job.tables[i].first_batch = job.num_batches;
    job.num_batches += (job.tables[i].request.num_bags + job.launch.batch_items - 1) / job.launch.batch_items;
  }
  return job;
}

Result<void> launch(std::span<const Checked> tables, std::uint32_t max_sms, cudaStream_t stream) {
  const DeviceTable& first = *tables[0].table;
  Policy policy = first.policy();
  if (max_sms != 0) policy.max_sms = max_sms;
  BagJob job = job_of(tables, first.limits(), policy);
  if (job.launch.workspace_bytes > 0) {
    // There is memory for rows as long as these with each table, for itself.
    if (tables.size() > 1) {
      for (std::size_t i = 0; i < tables.size(); ++i) STILLBIT_CHECK(launch(tables.subspan(i, 1), max_sms, stream));
      return {};
    }
    job.workspace = first.workspace();
  }
  return check(first.pool()(first.view_bytes(), job, stream), "the launch of a kernel");
}

bool share_a_launch(const DeviceTable& one, const DeviceTable& other) {
  return one.pool() == other.pool() && one.view_bytes() == other.view_bytes() &&
         one.memory().placement == other.memory().placement;
}

Result<void> check_bags(const DeviceTable& table, const warp::BagRequest& request) {
  STILLBIT_CHECK(table.check_memory(request.out, "out", 1));
  STILLBIT_CHECK(table.check_memory(request.offsets, "offsets", request.is_wide_offsets ? 8 : 4));
  if (request.num_index == 0) return {};
  if (request.num_index >> 32 != 0) return unsupported("an index of 2^32 numbers and more: make it several calls");
  STILLBIT_CHECK(table.check_memory(request.index, "index", request.is_wide_index ? 8 : 4));
  if (request.weights == nullptr) return {};
  const bool is_half = request.element == warp::Element::kF16 || request.element == warp::Element::kBF16;
  return table.check_memory(request.weights, "weights", is_half ? 2 : request.element == warp::Element::kF32 ? 4 : 8);
}

}  // namespace

Result<void> pool(std::span<const PoolJob> jobs, std::uint32_t max_sms, cudaStream_t stream) {
  if (jobs.empty()) return {};
  STILLBIT_TRY(const DeviceScope scope, DeviceScope::enter(jobs[0].table->memory().device));
  std::vector<Checked> left;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    DeviceTable* const table = jobs[i].table;
    const warp::BagRequest& request = jobs[i].request;
    const auto named = [&](const Fault& fault) {
      return jobs.size() > 1 ? in_context("table " + std::to_string(i), fault) : fault;
    };
    if (table->memory().device != jobs[0].table->memory().device)
      return named(invalid("it is on GPU " + std::to_string(table->memory().device) + ", table 0 on GPU " +
                           std::to_string(jobs[0].table->memory().device)));
    if (request.num_bags == 0 || table->row_bytes() == 0) continue;
    if (const Result<void> checked = check_bags(*table, request); !checked.ok()) return named(checked.fault());
    left.push_back({table, table->bags(request)});
  }
  while (!left.empty()) {
    const auto is_alike = [&](const Checked& each) { return share_a_launch(*each.table, *left[0].table); };
    const auto others = std::stable_partition(left.begin(), left.end(), is_alike);
    const auto num_alike = static_cast<std::size_t>(others - left.begin());
    for (std::size_t i = 0; i < num_alike; i += kMaxPooledTables) {
      const std::size_t size = std::min<std::size_t>(kMaxPooledTables, num_alike - i);
      STILLBIT_CHECK(launch(std::span(left).subspan(i, size), max_sms, stream));
    }
    left.erase(left.begin(), others);
  }
  return {};
}

}  // namespace stillbit::cuda
