#include "bench/subject.hpp"

#include "core/checked.hpp"
#include "cpu/parallel.hpp"

#include <blosc.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

namespace stillbit::bench {
namespace {

/// What is compressed as one, so that threads share the work; larger ones hardly compress better.
constexpr std::uint64_t kBlockBytes = std::uint64_t{4} << 20;

/// A compressor's functions on one block. Both return the bytes written, 0 or less when it failed.
struct Peer {
  const char* name;
  std::size_t (*max_bytes)(std::size_t num_bytes);
  std::int64_t (*compress)(std::span<const std::byte> from, std::span<std::byte> to, unsigned element_bytes);
  std::int64_t (*decompress)(std::span<const std::byte> from, std::span<std::byte> to);
};

/// What zstd wants to keep between blocks.
struct ZstdContexts {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> compress{ZSTD_createCCtx(), ZSTD_freeCCtx};
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> decompress{ZSTD_createDCtx(), ZSTD_freeDCtx};
};

ZstdContexts& zstd_contexts() {
  thread_local ZstdContexts contexts;
  return contexts;
}

std::int64_t zstd_result(std::size_t result) {
  return ZSTD_isError(result) != 0 ? -1 : static_cast<std::int64_t>(result);
}

int as_int(std::size_t size) {
  return static_cast<int>(size);
}

const char* chars(std::span<const std::byte> bytes) {
  return reinterpret_cast<const char*>(bytes.data());
}

char* chars(std::span<std::byte> bytes) {
  return reinterpret_cast<char*>(bytes.data());
}

constexpr Peer kZstd{"zstd-3", ZSTD_compressBound,
                     [](std::span<const std::byte> from, std::span<std::byte> to, unsigned) {
                       return zstd_result(ZSTD_compressCCtx(zstd_contexts().compress.get(), to.data(), to.size(),
                                                            from.data(), from.size(), 3));
                     },
                     [](std::span<const std::byte> from, std::span<std::byte> to) {
                       return zstd_result(ZSTD_decompressDCtx(zstd_contexts().decompress.get(), to.data(), to.size(),
                                                              from.data(), from.size()));
                     }};

constexpr Peer kLz4{"lz4", [](std::size_t size) { return static_cast<std::size_t>(LZ4_compressBound(as_int(size))); },
                    [](std::span<const std::byte> from, std::span<std::byte> to, unsigned) -> std::int64_t {
                      return LZ4_compress_default(chars(from), chars(to), as_int(from.size()), as_int(to.size()));
                    },
                    [](std::span<const std::byte> from, std::span<std::byte> to) -> std::int64_t {
                      return LZ4_decompress_safe(chars(from), chars(to), as_int(from.size()), as_int(to.size()));
                    }};

constexpr Peer kBitshuffle{
    "bitshuffle-lz4", [](std::size_t size) { return size + BLOSC_MAX_OVERHEAD; },
    [](std::span<const std::byte> from, std::span<std::byte> to, unsigned element_bytes) -> std::int64_t {
      constexpr int kLevel = 5;
      return blosc_compress_ctx(kLevel, BLOSC_BITSHUFFLE, element_bytes, from.size(), from.data(), to.data(), to.size(),
                                "lz4", 0, 1);
    },
    [](std::span<const std::byte> from, std::span<std::byte> to) -> std::int64_t {
      return blosc_decompress_ctx(from.data(), to.data(), to.size(), 1);
    }};

class PeerSubject final : public Subject {
 public:
  explicit PeerSubject(const Peer& peer) : peer_(peer) {}

  [[nodiscard]] std::string name() const override { return peer_.name; }

  [[nodiscard]] std::vector<Operation> operations(const Case& which) override {
    if (!which.has_peers) return {};
    const auto prepared = [this](Data& data) { return prepare(data); };
    const auto add = [&](const char* what, void (PeerSubject::*run)(Data&, unsigned)) {
      return Operation{what, "", prepared,
                       [this, run](Data& data, unsigned num_threads) {
                         (this->*run)(data, num_threads);
                         return std::uint64_t{data.raw.size()};
                       },
                       [this] { return ratio_; }};
    };
    return {add("compress", &PeerSubject::compress), add("decompress", &PeerSubject::decompress)};
  }

  void reset() override {
    sizes_.clear();
    compressed_ = {};
  }

 private:
  [[nodiscard]] static std::span<const std::byte> raw_block(const Data& data, std::uint64_t i) {
    const std::uint64_t begin = i * kBlockBytes;
    return std::span(data.raw).subspan(begin, std::min(kBlockBytes, data.raw.size() - begin));
  }

  std::optional<std::string> prepare(Data& data) {
    if (!sizes_.empty()) return {};
    sizes_.resize(ceil_div(data.raw.size(), kBlockBytes));
    place_bytes_ = peer_.max_bytes(kBlockBytes);
    compressed_.resize(sizes_.size() * place_bytes_);
    compress(data, 0);
    std::memcpy(data.out.data(), data.raw.data(), data.raw.size());
    invert(data.out);
    decompress(data, 0);
    require(data.out == data.raw, name() + ", " + data.which.name());
    const auto stored = std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0});
    ratio_ = static_cast<double>(data.raw.size()) / static_cast<double>(stored);
    return {};
  }

  void compress(Data& data, unsigned num_threads) {
    for_each_block(num_threads, [&](std::uint64_t i) {
      const auto to = std::span(compressed_).subspan(i * place_bytes_, place_bytes_);
      sizes_[i] = peer_.compress(raw_block(data, i), to, num_bytes(data.which.dtype));
      return sizes_[i] > 0;
    });
  }

  void decompress(Data& data, unsigned num_threads) {
    for_each_block(num_threads, [&](std::uint64_t i) {
      const auto from = std::span(compressed_).subspan(i * place_bytes_, static_cast<std::size_t>(sizes_[i]));
      const std::size_t raw_bytes = raw_block(data, i).size();
      const auto to = std::span(data.out).subspan(i * kBlockBytes, raw_bytes);
      return peer_.decompress(from, to) == static_cast<std::int64_t>(raw_bytes);
    });
  }

  template <class Body>
  void for_each_block(unsigned num_threads, const Body& body) {
    const auto done = cpu::parallel_for(sizes_.size(), cpu::resolve_threads(num_threads),
                                        [&](std::uint64_t i, unsigned) -> Result<void> {
                                          if (body(i)) return {};
                                          return corrupt(name() + " failed");
                                        });
    require(done.ok(), name());
  }

  Peer peer_;
  std::vector<std::int64_t> sizes_;  ///< of each block, compressed
  std::uint64_t place_bytes_ = 0;    ///< from one compressed block to the next
  std::vector<std::byte> compressed_;
  double ratio_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Subject>> peers() {
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Peer& peer : {kZstd, kLz4, kBitshuffle}) subjects.push_back(std::make_unique<PeerSubject>(peer));
  return subjects;
}

}  // namespace stillbit::bench
