#include "bench/gpu/cases.hpp"

#include <stillbit/dtype.hpp>

#include <algorithm>
#include <cctype>
#include <initializer_list>

namespace stillbit::bench::gpu {
namespace {

using testing::Values;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// Many times as large as a GPU's L2 cache, also once it is compressed.
constexpr std::uint64_t kTableBytes = 512 * kMiB;
constexpr std::uint64_t kBulkBytes = 1024 * kMiB;

/// What a gather may write.
constexpr std::uint64_t kMaxOutBytes = 1024 * kMiB;

constexpr std::uint64_t kUsualBatch = 131072;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

DataSet table(DType dtype, std::uint64_t row_bytes, Values values = Values::kNormal) {
  return {dtype, values, row_bytes, kTableBytes};
}

class Plan {
 public:
  /// What follows is less important than what came before.
  void next_level() {
    std::vector<DataSet> order;
    const auto place = [&](const Case& which) {
      const auto found = std::find(order.begin(), order.end(), which.data);
      if (found == order.end()) order.push_back(which.data);
      return std::find(order.begin(), order.end(), which.data) - order.begin();
    };
    for (const Case& which : level_) (void)place(which);
    std::stable_sort(level_.begin(), level_.end(), [&](const Case& a, const Case& b) { return place(a) < place(b); });
    cases_.insert(cases_.end(), level_.begin(), level_.end());
    level_.clear();
  }

  void add(const Case& which) {
    if (which.num_index * which.data.row_bytes > kMaxOutBytes) return;
    const auto has = [&](const std::vector<Case>& cases) {
      return std::find(cases.begin(), cases.end(), which) != cases.end();
    };
    if (!has(cases_) && !has(level_)) level_.push_back(which);
  }

  /// A gather, and that of the raw rows which it is held against.
  void add_gather(Job job, const DataSet& data, Codec codec, std::uint64_t num_index, Order order = Order::kRandom,
                  std::uint32_t max_sms = 0) {
    add({.job = job, .data = data, .codec = Codec::kRaw, .num_index = num_index, .order = order, .max_sms = max_sms});
    add({.job = job, .data = data, .codec = codec, .num_index = num_index, .order = order, .max_sms = max_sms});
  }

  /// A gather beside what the CPU and the copy engine do.
  void add_gather_by_cpu(const DataSet& data, Codec codec, std::uint64_t num_index) {
    add({.job = Job::kGatherByCpu, .data = data, .codec = codec, .num_index = num_index});
  }

  void add_bulk(const DataSet& data, Codec codec, Packing packing) {
    for (const Job job : {Job::kCopyToDevice, Job::kCopyOnDevice}) add({.job = job, .data = data});
    for (const Job job : {Job::kDecompressDevice, Job::kReadAndWrite, Job::kDecompressPinned})
      add({.job = job, .data = data, .codec = codec, .packing = packing});
  }

  /// Compressing rows, the copies that it is held against, and what raw rows take the same way.
  void add_compress(const DataSet& data, Codec codec) {
    for (const Job job : {Job::kCopyToHost, Job::kCopyOnDevice}) add({.job = job, .data = data});
    for (const Job job : {Job::kCompressPinned, Job::kCompressDevice}) {
      add({.job = job, .data = data, .codec = Codec::kRaw});
      add({.job = job, .data = data, .codec = codec});
    }
  }

  std::vector<Case> take() {
    next_level();
    return std::move(cases_);
  }

 private:
  std::vector<Case> cases_;
  std::vector<Case> level_;
};

void add_goals_of_bulk(Plan& plan) {
  for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
    for (const Packing packing : {Packing::kPacked, Packing::kSlotted})
      plan.add_bulk({DType::kBF16, Values::kNormal, 2048, kBulkBytes}, codec, packing);
  }
  plan.add_bulk({DType::kBF16, Values::kOutliers, 2048, kBulkBytes}, Codec::kWindow, Packing::kPacked);
  // A tensor of a million elements.
  for (const Codec codec : {Codec::kEscape, Codec::kWindow})
    plan.add({.job = Job::kDecompressDevice,
              .data = {DType::kBF16, Values::kNormal, 2048, 2 * kMiB},
              .codec = codec,
              .packing = Packing::kPacked});
  plan.next_level();
}

void add_goals_of_gathers(Plan& plan) {
  for (const std::uint64_t row_bytes : {256U, 512U, 1024U, 2048U}) {
    const DataSet data = table(DType::kBF16, row_bytes);
    plan.add({.job = Job::kCopyToDevice, .data = data});
    for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
      for (const std::uint64_t num_index : {std::uint64_t{16384}, kUsualBatch})
        plan.add_gather(Job::kGatherPinned, data, codec, num_index);
    }
    if (row_bytes == 512) plan.add_gather_by_cpu(data, Codec::kEscape, kUsualBatch);
  }
  plan.next_level();
}

/// What keeps reads over the link from being as fast as the copy engine's: one thing is changed at a time.
void add_raw_reads(Plan& plan, std::uint32_t num_sms, std::initializer_list<Fetch> fetches) {
  constexpr std::uint32_t kSms = 16;
  Case usual{.job = Job::kGatherRaw, .data = table(DType::kBF16, 512), .num_index = kUsualBatch, .max_sms = kSms};
  for (const Fetch fetch : fetches) {
    usual.raw.fetch = fetch;
    const auto add = [&](const auto& change) {
      Case changed = usual;
      change(changed);
      plan.add(changed);
    };
    for (const std::uint32_t max_sms : {2U, 4U, 8U, kSms, 32U, num_sms}) add([&](Case& c) { c.max_sms = max_sms; });
    for (const std::uint32_t depth : {2U, 4U}) add([&](Case& c) { c.raw.depth = depth; });
    for (const Pages pages : {Pages::kHuge, Pages::kWriteCombined}) add([&](Case& c) { c.raw.pages = pages; });
    for (const std::uint64_t row_bytes : {64U, 128U, 256U, 512U, 1024U, 2048U, 8192U}) {
      const DataSet data = table(DType::kBF16, row_bytes);
      add([&](Case& c) { c.data = data; });
      if (row_bytes > 512) continue;
      add([&](Case& c) {
        c.data = data;
        c.order = Order::kSorted;
      });
      add([&](Case& c) {
        c.data = data;
        c.raw.shift_bytes = 32;
      });
    }
  }
  plan.next_level();
}

void add_multiprocessors(Plan& plan, std::uint32_t num_sms) {
  for (const std::uint64_t row_bytes : {512U, 2048U}) {
    for (const std::uint32_t max_sms : {1U, 2U, 4U, 8U, 16U, 32U, num_sms}) {
      const DataSet data = table(DType::kBF16, row_bytes);
      plan.add_gather(Job::kGatherPinned, data, Codec::kEscape, kUsualBatch, Order::kRandom, max_sms);
    }
  }
  plan.next_level();
}

void add_other_dtypes(Plan& plan) {
  for (const DType dtype : {DType::kF32, DType::kF8E5M2}) {
    plan.add_bulk({dtype, Values::kNormal, 2048, kBulkBytes}, Codec::kEscape, Packing::kPacked);
    for (const std::uint64_t row_bytes : {512U, 1024U})
      plan.add_gather(Job::kGatherPinned, table(dtype, row_bytes), Codec::kEscape, kUsualBatch);
  }
  plan.next_level();
}

void add_compress(Plan& plan) {
  for (const std::uint64_t row_bytes : {512U, 2048U}) {
    for (const Codec codec : {Codec::kEscape, Codec::kWindow}) plan.add_compress(table(DType::kBF16, row_bytes), codec);
  }
  plan.add_compress(table(DType::kF32, 1024, Values::kSmallInts), Codec::kIbp);
  plan.next_level();
}

void add_widths_batches_and_orders(Plan& plan) {
  for (const std::uint64_t row_bytes : {64U, 128U, 4096U, 8192U})
    plan.add_gather(Job::kGatherPinned, table(DType::kBF16, row_bytes), Codec::kEscape, kUsualBatch);
  const DataSet usual = table(DType::kBF16, 512);
  for (const std::uint64_t num_index : {1024U, 4096U, 1048576U})
    plan.add_gather(Job::kGatherPinned, usual, Codec::kEscape, num_index);
  for (const Order order : {Order::kSorted, Order::kSkewed})
    plan.add_gather(Job::kGatherPinned, usual, Codec::kEscape, kUsualBatch, order);
  plan.next_level();
}

void add_device_gathers(Plan& plan) {
  for (const std::uint64_t row_bytes : {512U, 2048U}) {
    const DataSet data = table(DType::kBF16, row_bytes);
    for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
      for (const std::uint64_t num_index : {std::uint64_t{16384}, kUsualBatch, std::uint64_t{1048576}})
        plan.add_gather(Job::kGatherDevice, data, codec, num_index);
    }
    plan.add_gather_by_cpu(data, Codec::kEscape, kUsualBatch);
  }
  plan.next_level();
}

void add_other_codecs(Plan& plan) {
  const auto add = [&](Codec codec, Values values) {
    plan.add_bulk({DType::kF32, values, 2048, kBulkBytes}, codec, Packing::kPacked);
    for (const Job job : {Job::kGatherPinned, Job::kGatherDevice})
      plan.add_gather(job, table(DType::kF32, 1024, values), codec, kUsualBatch);
  };
  add(Codec::kIbp, Values::kSmallInts);
  add(Codec::kDictionary, Values::kSmallInts);
  add(Codec::kSparse, Values::kBagOfWords);
  add(Codec::kWindow, Values::kOutliers);
  plan.add_bulk({DType::kBF16, Values::kNormal, 2048, kBulkBytes}, Codec::kRans, Packing::kPacked);
  plan.next_level();
}

/// All that is left of the axes.
void add_everything(Plan& plan) {
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kF8E5M2}) {
    for (const Codec codec : {Codec::kEscape, Codec::kWindow}) {
      for (const std::uint64_t row_bytes : {64U, 128U, 256U, 512U, 1024U, 2048U, 4096U, 8192U}) {
        for (const std::uint64_t num_index : {1024U, 16384U, 131072U, 1048576U}) {
          for (const Order order : {Order::kRandom, Order::kSorted, Order::kSkewed})
            plan.add_gather(Job::kGatherPinned, table(dtype, row_bytes), codec, num_index, order);
          plan.add_gather(Job::kGatherDevice, table(dtype, row_bytes), codec, num_index);
        }
        plan.add_gather_by_cpu(table(dtype, row_bytes), codec, kUsualBatch);
        plan.add_compress(table(dtype, row_bytes), codec);
      }
    }
  }
  // Codecs for values of other kinds.
  for (const std::uint64_t row_bytes : {64U, 128U, 256U, 512U, 1024U, 2048U, 4096U, 8192U}) {
    const auto add = [&](Codec codec, Values values) {
      for (const std::uint64_t num_index : {1024U, 16384U, 131072U, 1048576U}) {
        for (const Order order : {Order::kRandom, Order::kSorted, Order::kSkewed})
          plan.add_gather(Job::kGatherPinned, table(DType::kF32, row_bytes, values), codec, num_index, order);
      }
    };
    add(Codec::kIbp, Values::kSmallInts);
    add(Codec::kDictionary, Values::kSmallInts);
    add(Codec::kSparse, Values::kBagOfWords);
  }
}

}  // namespace

std::string name(Job job) {
  constexpr const char* kNames[] = {"copy_to_device",    "copy_to_host",      "copy_on_device",  "read_and_write",
                                    "gather_by_cpu",     "gather_pinned",     "gather_device",   "gather_raw",
                                    "decompress_pinned", "decompress_device", "compress_pinned", "compress_device"};
  return kNames[static_cast<int>(job)];
}

std::string name(Order order) {
  constexpr const char* kNames[] = {"random", "sorted", "skewed"};
  return kNames[static_cast<int>(order)];
}

std::string name(Fetch fetch) {
  constexpr const char* kNames[] = {"loads", "copies", "plain_copies", "sector_copies", "bulk_copies"};
  return kNames[static_cast<int>(fetch)];
}

std::string name(Pages pages) {
  constexpr const char* kNames[] = {"cuda", "write_combined", "huge"};
  return kNames[static_cast<int>(pages)];
}

std::string name(DType dtype) {
  return lower(stillbit::name(dtype));
}

std::string name(testing::Values values) {
  return lower(testing::name(values));
}

std::string Case::name() const {
  std::string text = gpu::name(job);
  if (is_raw()) {
    text += "/fetch:" + gpu::name(raw.fetch) + "/depth:" + std::to_string(raw.depth) +
            "/pages:" + gpu::name(raw.pages) + "/shift:" + std::to_string(raw.shift_bytes);
  } else if (!is_copy()) {
    text += "/codec:" + std::string(stillbit::name(codec)) + "/packing:" + std::string(stillbit::name(packing));
  }
  text += "/dtype:" + gpu::name(data.dtype) + "/values:" + gpu::name(data.values) +
          "/row_bytes:" + std::to_string(data.row_bytes) + "/mib:" + std::to_string(data.num_bytes / kMiB);
  if (is_gather()) text += "/batch:" + std::to_string(num_index) + "/order:" + gpu::name(order);
  if (max_sms != 0) text += "/sms:" + std::to_string(max_sms);
  return text;
}

std::vector<Case> all_cases(std::uint32_t num_sms) {
  Plan plan;
  add_goals_of_bulk(plan);
  add_goals_of_gathers(plan);
  add_raw_reads(plan, num_sms, {Fetch::kCopies, Fetch::kLoads, Fetch::kPlainCopies, Fetch::kSectorCopies});
  add_multiprocessors(plan, num_sms);
  add_other_dtypes(plan);
  add_compress(plan);
  add_widths_batches_and_orders(plan);
  add_device_gathers(plan);
  add_other_codecs(plan);
  // If a GPU does not let bulk copies read the host's memory, what comes before is measured.
  add_raw_reads(plan, num_sms, {Fetch::kBulkCopies});
  add_everything(plan);
  return plan.take();
}

}  // namespace stillbit::bench::gpu
