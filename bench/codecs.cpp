#include "bench/reference.hpp"
#include "bench/subject.hpp"

#include <stillbit/stillbit.hpp>

#include <benchmark/benchmark.h>

#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace stillbit::bench {
namespace {

class CodecSubject final : public Subject {
 public:
  explicit CodecSubject(Codec codec) : codec_(codec) {}

  [[nodiscard]] std::string name() const override { return std::string(stillbit::name(codec_)); }

  /// Bulk work on packed tensors, as files are; gathers from slots, which are made for them, but not of `rans`, which
  /// is for files at rest.
  [[nodiscard]] std::vector<Operation> operations(const Case& which) override {
    std::vector<Operation> operations;
    const auto add = [&](const char* what, Packing packing, const std::function<std::uint64_t(Data&, unsigned)>& run) {
      operations.push_back({what, std::string(stillbit::name(packing)),
                            [this, packing](Data& data) { return prepare(data, packing); }, run,
                            [this, packing] { return compressed_.at(packing).ratio(); }});
    };
    if (which.has_bulk) {
      // Into memory that was used before, as memcpy and the other compressors have it; and into memory that the system
      // has to clear.
      add("compress", Packing::kPacked, [this](Data& data, unsigned num_threads) {
        const CompressOptions wanted = options(Packing::kPacked, num_threads);
        used_ = used_ ? compress(data.view(), wanted, std::move(*used_)) : compress(data.view(), wanted);
        return std::uint64_t{data.raw.size()};
      });
      add("compress_anew", Packing::kPacked, [this](Data& data, unsigned num_threads) {
        benchmark::DoNotOptimize(compress(data.view(), options(Packing::kPacked, num_threads)).stored_bytes());
        return std::uint64_t{data.raw.size()};
      });
      add("decompress", Packing::kPacked, [this](Data& data, unsigned num_threads) {
        compressed_.at(Packing::kPacked).decompress(data.out, num_threads);
        return std::uint64_t{data.raw.size()};
      });
    }
    if (codec_ == Codec::kRans) return operations;
    add("gather", Packing::kSlotted, [this](Data& data, unsigned num_threads) {
      return gather(data, compressed_.at(Packing::kSlotted), data.next_index(), num_threads);
    });
    return operations;
  }

  void reset() override {
    compressed_.clear();
    used_.reset();
  }

 private:
  [[nodiscard]] CompressOptions options(Packing packing, unsigned num_threads) const {
    CompressOptions options;
    options.codec = codec_;
    options.packing = packing;
    options.num_threads = num_threads;
    return options;
  }

  static std::uint64_t gather(Data& data, const CompressedTensor& tensor, std::span<const std::int64_t> index,
                              unsigned num_threads) {
    const std::uint64_t num_bytes = index.size() * data.which.row_bytes();
    tensor.gather(index, std::span(data.out).first(num_bytes), num_threads);
    return num_bytes;
  }

  std::optional<std::string> prepare(Data& data, Packing packing) {
    auto found = compressed_.find(packing);
    if (found == compressed_.end()) {
      found = compressed_.emplace(packing, compress(data.view(), options(packing, 0))).first;
      if (found->second.codec() == codec_) check(data, found->second);
    }
    if (found->second.codec() != codec_) return "stored raw: it would not be smaller";
    return {};
  }

  void check(Data& data, const CompressedTensor& tensor) const {
    const std::string what = name() + ", " + data.which.name();
    std::memcpy(data.out.data(), data.raw.data(), data.raw.size());
    invert(data.out);
    tensor.decompress(data.out);
    require(data.out == data.raw, what + ": decompress");

    const auto index = data.next_index();
    const std::uint64_t row_bytes = data.which.row_bytes();
    raw_gather(data, index, 0, 1);
    invert(std::span(data.out).first(index.size() * row_bytes));
    gather(data, tensor, index, 0);
    for (std::size_t i = 0; i < index.size(); ++i) {
      const std::byte* const row = data.raw.data() + static_cast<std::uint64_t>(index[i]) * row_bytes;
      require(std::memcmp(data.out.data() + i * row_bytes, row, row_bytes) == 0, what + ": gather");
    }
  }

  Codec codec_;
  std::map<Packing, CompressedTensor> compressed_;
  std::optional<CompressedTensor> used_;  ///< whose memory is used again
};

}  // namespace

std::vector<std::unique_ptr<Subject>> codecs() {
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const char* const name : {"ibp", "window", "escape", "sparse", "dictionary", "rans"}) {
    if (const auto codec = codec_from_name(name)) subjects.push_back(std::make_unique<CodecSubject>(*codec));
  }
  return subjects;
}

}  // namespace stillbit::bench
