#include "api/decompress.hpp"

#include "api/bulk_access.hpp"
#include "api/compressed_tensor.hpp"
#include "api/expand_tiles.hpp"
#include "core/checked.hpp"
#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/copy.hpp"
#include "cpu/pages.hpp"
#include "cpu/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace stillbit {
namespace {

/// Output bytes that are not worth a thread.
constexpr std::uint64_t kThreadBytes = std::uint64_t{256} << 10;

/// The checksum of a tensor that several tasks expand.
struct Joint {
  Checksum checksum;
  std::atomic<std::uint64_t> num_tasks_left;
};

/// A part of a tensor, small ones in one: whole pieces of its checksum, from `begin` on.
struct Task {
  std::size_t request;
  std::uint64_t begin;
  std::uint64_t num_bytes;
  Joint* joint;  ///< null where the task is the tensor
};

/// How many bytes a task expands. Where pieces of a checksum do not end with tiles, two tasks expand one: with several
/// tiles each that does not matter.
std::uint64_t task_bytes(const CompressedTensor::Impl& impl) {
  const std::uint64_t tile_bytes = impl.header.codec == Codec::kRaw ? 0 : impl.header.tile_bytes;
  const bool is_large = impl.header.geometry.num_bytes() >= cpu::kPastCachesBytes;
  return align_up(std::max(4 * tile_bytes, is_large ? kTaskBytesPastCaches : kChecksumPieceBytes), kChecksumPieceBytes);
}

void add_tasks(std::size_t request, const CompressedTensor::Impl& impl, std::deque<Joint>& joints,
               std::vector<Task>& tasks) {
  const std::uint64_t size = impl.header.geometry.num_bytes();
  const std::uint64_t each = task_bytes(impl);
  Joint* joint = nullptr;
  if (size > each) {
    joint = &joints.emplace_back();
    joint->num_tasks_left = ceil_div(size, each);
  }
  for (std::uint64_t begin = 0; begin < size; begin += each)
    tasks.push_back({request, begin, std::min(each, size - begin), joint});
}

/// Compares a tensor's checksum when the last of its tasks has added to it.
Result<void> check(const Task& task, Bytes expanded, std::uint64_t data_checksum) {
  Checksum own;
  Checksum& checksum = task.joint == nullptr ? own : task.joint->checksum;
  for (std::uint64_t at = 0; at < task.num_bytes; at += kChecksumPieceBytes) {
    const Bytes piece = expanded.subspan(at, std::min(kChecksumPieceBytes, task.num_bytes - at));
    checksum.add((task.begin + at) / kChecksumPieceBytes, cpu::digest(piece));
  }
  if (task.joint != nullptr && --task.joint->num_tasks_left > 0) return {};
  return checksum.value() == data_checksum ? Result<void>() : corrupt("the expanded data does not have its checksum");
}

Result<void> run(const Task& task, const DecompressRequest& request, bool verify) {
  const CompressedTensor::Impl& impl = request.tensor->impl();
  std::byte* const out = request.out.data() + task.begin;
  if (request.is_new_memory) cpu::request_pages({out, task.num_bytes});
  // A checksum finds in the caches what was written through them; and so were pages that the system has just cleared.
  const bool is_past_caches = !verify && !request.is_new_memory && request.out.size() >= cpu::kPastCachesBytes;
  STILLBIT_CHECK(with_decoder(impl, [&](const Decoder& decoder) -> Result<void> {
    if (const Bytes raw = decoder.reader.raw_rows(); !raw.empty()) {
      std::memcpy(out, raw.data() + task.begin, task.num_bytes);
      return {};
    }
    return PartExpander(decoder, is_past_caches).expand(task.begin, task.num_bytes, out);
  }));
  if (!verify || !impl.is_unchanged) return {};
  return check(task, Bytes(out, task.num_bytes), impl.header.data_checksum);
}

/// Memory of many small tensors is often one piece but for a few bytes between them.
void prefer_large_pages(std::span<const DecompressRequest> requests) {
  constexpr std::ptrdiff_t kGapBytes = 4096;
  std::vector<std::span<std::byte>> pieces;
  for (const DecompressRequest& request : requests) {
    if (request.is_new_memory) pieces.push_back(request.out);
  }
  std::sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.data() < b.data(); });
  for (std::size_t i = 0; i < pieces.size();) {
    std::byte* end = pieces[i].data() + pieces[i].size();
    std::size_t next = i + 1;
    for (; next < pieces.size() && pieces[next].data() - end <= kGapBytes; ++next)
      end = std::max(end, pieces[next].data() + pieces[next].size());
    cpu::prefer_large_pages({pieces[i].data(), end});
    i = next;
  }
}

/// Where the payloads of each mapped file begin and end.
std::deque<BulkAccess> access_all(std::span<const DecompressRequest> requests) {
  std::map<const void*, std::pair<const std::byte*, const std::byte*>> ranges;
  for (const DecompressRequest& request : requests) {
    const Bytes mapped = request.tensor->impl().mapped;
    if (mapped.empty()) continue;
    const std::byte* const end = mapped.data() + mapped.size();
    auto& range = ranges.try_emplace(request.tensor->impl().mapping.get(), mapped.data(), end).first->second;
    range = {std::min(range.first, mapped.data()), std::max(range.second, end)};
  }
  std::deque<BulkAccess> access;
  for (const auto& [mapping, range] : ranges) access.emplace_back(Bytes(range.first, range.second));
  return access;
}

}  // namespace

Result<void> decompress_all(std::span<const DecompressRequest> requests, unsigned num_threads, bool verify,
                            const NameRequest& named) {
  std::deque<Joint> joints;
  std::vector<Task> tasks;
  std::uint64_t num_bytes = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const CompressedTensor& tensor = *requests[i].tensor;
    if (requests[i].out.size() != tensor.raw_bytes()) {
      return named(i, invalid("it takes " + std::to_string(tensor.raw_bytes()) + " bytes, the memory given has " +
                              std::to_string(requests[i].out.size())));
    }
    add_tasks(i, tensor.impl(), joints, tasks);
    num_bytes += tensor.raw_bytes();
  }
  const std::deque<BulkAccess> access = access_all(requests);
  prefer_large_pages(requests);
  const unsigned threads = num_bytes <= kThreadBytes ? 1 : cpu::resolve_threads(num_threads);
  return cpu::parallel_for(tasks.size(), threads, [&](std::uint64_t i, unsigned) -> Result<void> {
    const Result<void> done = run(tasks[i], requests[tasks[i].request], verify);
    return done.ok() ? done : named(tasks[i].request, done.fault());
  });
}

namespace {

Fault by_position(std::size_t request, const Fault& fault) {
  return in_context("tensor " + std::to_string(request), fault);
}

}  // namespace

void decompress(std::span<const DecompressRequest> requests, unsigned num_threads) {
  unwrap(decompress_all(requests, num_threads, false, by_position));
}

void decompress_verified(std::span<const DecompressRequest> requests, unsigned num_threads) {
  unwrap(decompress_all(requests, num_threads, true, by_position));
}

}  // namespace stillbit
