#include "cli/measure.hpp"

#include "cli/output.hpp"
#include "cli/reference.hpp"

#include <stillbit/error.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>

namespace stillbit::cli {
namespace {

using Seconds = std::chrono::duration<double>;
using Job = std::function<void()>;

/// Rounds in which everything is timed once: medians over rounds leave out what the machine did besides in one of them.
constexpr std::size_t kRounds = 5;
static_assert(kMeasurePasses == kRounds + 1, "the checks, and the rounds");

/// What is timed lasts at least this long: clocks and the start of threads do not matter then.
constexpr Seconds kLeastTime{0.005};

/// The raw tensor, its compressed form, and the memory that it is expanded to.
constexpr std::uint64_t kCopies = 3;

/// Raw bytes that are gathered at once: more than caches hold, so that rows come from memory.
constexpr std::uint64_t kGatherBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMaxGatherRows = std::uint64_t{1} << 20;

/// The size of the third-level cache as the system tells it. (What the C library tells is wrong in virtual machines.)
std::uint64_t cache_bytes() {
  constexpr std::uint64_t kDefault = std::uint64_t{32} << 20;
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  std::uint64_t kilobytes = 0;
  return file >> kilobytes ? kilobytes << 10 : kDefault;
}

/// Rows as the library sees them.
struct Rows {
  std::uint64_t count = 1;
  std::uint64_t bytes = 1;  ///< of each
};

Rows rows_of(const Subject& subject, unsigned row_dims) {
  Rows rows{1, num_bytes(subject.dtype)};
  const std::size_t outer = subject.shape.size() - std::min<std::size_t>(row_dims, subject.shape.size());
  for (std::size_t i = 0; i < subject.shape.size(); ++i) (i < outer ? rows.count : rows.bytes) *= subject.shape[i];
  return rows;
}

/// As many of the first rows as memory allows.
std::uint64_t rows_to_measure(const Subject& subject, const Rows& rows, std::uint64_t max_memory) {
  const std::uint64_t max_bytes = max_memory / kCopies;
  if (rows.count * rows.bytes <= max_bytes) return rows.count;
  const std::uint64_t count = max_bytes / rows.bytes;
  if (count > 0 && subject.can_read_parts) return count;
  throw Error(ErrorCode::kInvalidArgument,
              "measuring " + std::string(count > 0 ? "it" : "one row of it") + " takes " +
                  human_bytes(kCopies * (count > 0 ? rows.count : 1) * rows.bytes) + " of memory, and " +
                  human_bytes(max_memory) + " may be used" +
                  (count > 0 ? "; of a file that is not compressed the first rows are measured" : ""));
}

/// Everything that is timed, on one tensor.
class Bench {
 public:
  /// `is_part`: `rows` are the first of the tensor's, not all.
  Bench(const Subject& subject, const Rows& rows, bool is_part, const CompressOptions& options)
      : rows_(rows),
        options_(options),
        raw_(rows.count * rows.bytes),
        out_(raw_.size()),
        view_{raw_.data(), subject.dtype, subject.shape} {
    subject.read(raw_);
    options_.row_dims = static_cast<unsigned>(std::min<std::size_t>(options.row_dims, subject.shape.size()));
    if (is_part) {
      view_.shape = {rows.count, rows.bytes / num_bytes(subject.dtype)};
      options_.row_dims = 1;
    }
    if (raw_.empty()) return;
    const std::uint64_t count =
        std::min({rows.count, kMaxGatherRows, std::max(kGatherBytes / rows.bytes, std::uint64_t{1})});
    std::mt19937_64 random(count);  // the same rows every time
    for (std::uint64_t i = 0; i < count; ++i) index_.push_back(static_cast<std::int64_t>(random() % rows.count));
  }

  void compress() {
    // The one before is freed first: two would be one copy more in memory.
    compressed_.reset();
    compressed_ = std::make_unique<CompressedTensor>(stillbit::compress(view_, options_));
  }

  void decompress() { compressed_->decompress(out_, options_.num_threads); }
  void gather() { compressed_->gather(index_, gathered(), options_.num_threads); }
  void copy() { parallel_copy(raw_, out_, options_.num_threads); }
  void raw_gather() { prefetched_gather(raw_, rows_.bytes, index_, out_, options_.num_threads); }

  /// Both ways back give every bit. Whatever lay in the output before has every bit wrong.
  void check() {
    copy();
    invert(out_);
    decompress();
    if (out_ != raw_) throw Error(ErrorCode::kMismatch, "the round trip is not exact");
    raw_gather();
    invert(gathered());
    gather();
    for (std::size_t i = 0; i < index_.size(); ++i) {
      const std::byte* row = raw_.data() + static_cast<std::uint64_t>(index_[i]) * rows_.bytes;
      if (std::memcmp(out_.data() + i * rows_.bytes, row, rows_.bytes) != 0)
        throw Error(ErrorCode::kMismatch, "row " + std::to_string(index_[i]) + " is not gathered exactly");
    }
  }

  [[nodiscard]] const CompressedTensor& compressed() const { return *compressed_; }
  [[nodiscard]] std::size_t raw_bytes() const { return raw_.size(); }
  [[nodiscard]] std::size_t gathered_bytes() const { return index_.size() * rows_.bytes; }

 private:
  std::span<std::byte> gathered() { return std::span(out_).first(gathered_bytes()); }

  static void invert(std::span<std::byte> bytes) {
    for (std::byte& byte : bytes) byte = ~byte;
  }

  Rows rows_;
  CompressOptions options_;
  std::vector<std::byte> raw_;
  std::vector<std::byte> out_;
  TensorView view_;
  std::vector<std::int64_t> index_;
  std::unique_ptr<CompressedTensor> compressed_;
};

Seconds time_of(const Job& job, std::uint64_t repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < repeats; ++i) job();
  return std::chrono::steady_clock::now() - start;
}

/// Times a job as often as it takes to fill kLeastTime. What the job writes is compared with something later, and it is
/// called through a pointer: no compiler can leave it out.
class Timed {
 public:
  Timed(Job job, std::uint64_t num_bytes) : job_(std::move(job)), num_bytes_(num_bytes) {
    while (time_of(job_, repeats_) < kLeastTime) repeats_ *= 2;
  }

  void run(std::size_t round) { seconds_[round] = time_of(job_, repeats_).count() / static_cast<double>(repeats_); }

  /// GB/s of the median round.
  [[nodiscard]] double speed() {
    std::nth_element(seconds_.begin(), seconds_.begin() + kRounds / 2, seconds_.end());
    return static_cast<double>(num_bytes_) / seconds_[kRounds / 2] / 1e9;
  }

 private:
  Job job_;
  std::uint64_t num_bytes_;
  std::uint64_t repeats_ = 1;
  std::array<double, kRounds> seconds_{};
};

Speeds time_all(Bench& bench, const Job& round_is_done) {
  Timed copy([&] { bench.copy(); }, bench.raw_bytes());
  Timed compress([&] { bench.compress(); }, bench.raw_bytes());
  Timed decompress([&] { bench.decompress(); }, bench.raw_bytes());
  Timed raw_gather([&] { bench.raw_gather(); }, bench.gathered_bytes());
  Timed gather([&] { bench.gather(); }, bench.gathered_bytes());
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (Timed* job : {&copy, &compress, &decompress, &raw_gather, &gather}) job->run(round);
    round_is_done();
  }
  return {copy.speed(), compress.speed(), decompress.speed(), raw_gather.speed(), gather.speed()};
}

}  // namespace

Measurement measure(const Subject& subject, const MeasureOptions& options) {
  Rows rows = rows_of(subject, options.compress.row_dims);
  Measurement measured{.device = "cpu", .tensor = {}, .num_rows = rows.count};
  const std::uint64_t whole_bytes = rows.count * rows.bytes;
  rows.count = measured.measured_rows = rows_to_measure(subject, rows, options.max_memory);
  const auto pass_is_done = [&] {
    if (options.progress) options.progress(whole_bytes);
  };

  Bench bench(subject, rows, rows.count < measured.num_rows, options.compress);
  bench.compress();
  bench.check();
  pass_is_done();
  measured.tensor = bench.compressed().info();
  measured.tensor.name = subject.name;
  measured.tensor.shape = subject.shape;
  const std::uint64_t working_set = 2 * bench.raw_bytes() + bench.compressed().stored_bytes();
  measured.is_cache_resident = working_set <= cache_bytes();
  if (bench.raw_bytes() == 0) return measured;
  measured.speeds = time_all(bench, pass_is_done);
  // What was timed is what was checked.
  bench.check();
  return measured;
}

}  // namespace stillbit::cli
