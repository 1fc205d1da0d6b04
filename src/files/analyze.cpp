#include "files/analyze_tensor.hpp"
#include "api/compressed_tensor.hpp"
#include "cpu/parallel.hpp"
#include "io/mapped_file.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace stillbit {
namespace {

/// What is looked at of all tensors together. Small samples take about 60 ns a byte to be planned on, so that this is
/// some 2.5 s of one core; counting takes less.
constexpr std::uint64_t kPlannedBytes = std::uint64_t{40} << 20;
constexpr std::uint64_t kCountedBytes = std::uint64_t{96} << 20;

/// Of each tensor; less tells little, and more not much. No more of it is planned on than this where tensors are
/// thousands; but one that is small enough to be looked at as a whole gets the plan that compressing would make.
constexpr std::uint64_t kMinSampleBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kMinPlannedBytes = std::uint64_t{16} << 10;
constexpr std::uint64_t kMaxCountedBytes = std::uint64_t{4} << 20;

/// Parts of Invariance: as many as fit on a page, and fewer where many tensors have to.
constexpr std::uint64_t kMaxParts = 128;
constexpr std::uint64_t kMaxPartsOfMany = 64;
constexpr std::size_t kManyTensors = 64;

std::uint64_t share_of(std::uint64_t total, std::size_t num_tensors, std::uint64_t least, std::uint64_t most) {
  return std::clamp(total / std::max<std::size_t>(1, num_tensors), std::min(least, most), most);
}

AnalysisBudget budget_for(std::size_t num_tensors) {
  return {share_of(kCountedBytes, num_tensors, kMinSampleBytes, kMaxCountedBytes),
          num_tensors > kManyTensors ? kMaxPartsOfMany : kMaxParts};
}

/// The first tensors that equal others, found without reading all of them: tensors that start alike and have the same
/// middle are compared.
class EqualTensors {
 public:
  /// The number of an earlier tensor with the same dtype, shape and bytes; nothing where there is none.
  std::optional<std::size_t> find_or_add(std::size_t i, const Source& source) {
    if (source.data.empty()) return std::nullopt;
    constexpr std::uint64_t kLookedAtBytes = 64;
    const std::uint64_t count = std::min<std::uint64_t>(kLookedAtBytes, source.data.size());
    const Bytes start = source.data.first(count);
    const Bytes middle = source.data.subspan((source.data.size() - count) / 2, count);
    std::vector<std::byte> looked_at(start.begin(), start.end());
    looked_at.insert(looked_at.end(), middle.begin(), middle.end());
    auto& alike = seen_[{source.dtype, source.shape, std::move(looked_at)}];
    for (const auto& [number, other] : alike) {
      if (have_same_bytes(other, source)) return number;
    }
    alike.emplace_back(i, source);
    return std::nullopt;
  }

 private:
  using Key = std::tuple<DType, std::vector<std::uint64_t>, std::vector<std::byte>>;
  std::map<Key, std::vector<std::pair<std::size_t, Source>>> seen_;
};

/// Calls analyze(i) for each tensor; on several threads where there are several.
void for_each_tensor(const TensorFile& file, std::size_t count, unsigned num_threads,
                     const std::function<Result<void>(std::size_t)>& analyze) {
  unwrap_in(file.path, cpu::parallel_for(count, num_threads, [&](std::uint64_t i, unsigned) { return analyze(i); }));
}

void analyze_raw(const TensorFile& file, const AnalyzeOptions& options, FileAnalysis& result) {
  const std::size_t count = file.raw.size();
  const unsigned num_threads = cpu::resolve_threads(options.tensor.num_threads);
  CompressOptions own = options.tensor;
  own.num_threads = count > 1 ? 1 : num_threads;
  const std::uint64_t most = own.max_sample_bytes;
  own.max_sample_bytes = share_of(kPlannedBytes, count, kMinPlannedBytes, most);
  const AnalysisBudget budget = budget_for(count);
  for_each_tensor(file, count, num_threads, [&](std::size_t i) -> Result<void> {
    const auto& [name, raw] = file.raw[i];
    const auto analyze_one = [&, &raw = raw]() -> Result<TensorAnalysis> {
      STILLBIT_TRY(const Source source, reinterpreted(raw, options.as));
      CompressOptions tensor_options = own;
      if (source.data.size() <= kMinSampleBytes) tensor_options.max_sample_bytes = most;
      tensor_options.row_dims = static_cast<unsigned>(std::min<std::size_t>(own.row_dims, source.shape.size()));
      return analyze(source, tensor_options, budget);
    };
    auto analysis = analyze_one();
    if (!analysis.ok()) return in_context(quoted_tensor(name), analysis.fault());
    result.tensors[i] = std::move(analysis).value();
    if (raw.is_mapped) io::release_pages(raw.data);
    if (options.tensor.progress) options.tensor.progress(raw.data.size());
    return {};
  });
  EqualTensors equal;
  for (std::size_t i = 0; i < count; ++i) {
    result.tensors[i].info.name = file.raw[i].name;
    result.tensors[i].same_as = equal.find_or_add(i, file.raw[i].source);
  }
}

void analyze_stored(const TensorFile& file, const AnalyzeOptions& options, FileAnalysis& result) {
  const std::size_t count = file.stored.size();
  const AnalysisBudget budget = budget_for(count);
  for_each_tensor(file, count, cpu::resolve_threads(options.tensor.num_threads), [&](std::size_t i) -> Result<void> {
    const TensorFile::StoredTensor& stored = file.stored[i];
    auto analysis = analyze(*stored.tensor, budget);
    if (!analysis.ok()) return in_context(quoted_tensor(stored.name), analysis.fault());
    result.tensors[i] = std::move(analysis).value();
    result.tensors[i].info.name = stored.name;
    io::release_pages(stored.payload);
    if (options.tensor.progress) options.tensor.progress(stored.tensor->raw_bytes());
    return {};
  });
  std::unordered_map<std::string, std::size_t> first_of;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [first, is_new] = first_of.emplace(file.stored[i].payload_name, i);
    if (!is_new) result.tensors[i].same_as = first->second;
  }
}

}  // namespace

FileAnalysis analyze_file(const std::filesystem::path& path, const AnalyzeOptions& options) {
  const TensorFile file = unwrap(open_tensor_file(path));
  FileAnalysis result;
  result.is_compressed = file.is_compressed;
  result.file_bytes = file.file_bytes;
  result.raw_bytes = file.raw_bytes();
  result.metadata = file.metadata;
  result.tensors.resize(file.is_compressed ? file.stored.size() : file.raw.size());
  // What is looked at lies in runs, each of many pages.
  for (const auto& mapping : file.mappings) io::advise(mapping->bytes(), io::Access::kSequential);
  if (file.is_compressed) {
    analyze_stored(file, options, result);
  } else {
    analyze_raw(file, options, result);
  }
  for (const TensorAnalysis& tensor : result.tensors)
    result.stored_bytes += tensor.same_as ? 0 : tensor.info.stored_bytes;
  return result;
}

std::string_view name(BitUse use) noexcept {
  constexpr std::array<std::string_view, kNumBitUses> kNames{"values",    "codes",    "exceptions", "marks",
                                                             "positions", "raw_rows", "plan",       "map",
                                                             "index",     "slots",    "padding",    "header"};
  return kNames[static_cast<std::size_t>(use)];
}

}  // namespace stillbit
