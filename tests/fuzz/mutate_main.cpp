// Reads many mutated files: stillbit_mutate NUM_FILES SEED FILE...
//
// A share of the mutants gets its checksums made right again, so that what lies behind them is reached, too. The same
// seed gives the same mutants.

#include "core/checksum.hpp"
#include "cpu/checksum.hpp"
#include "cpu/parallel.hpp"
#include "format/safetensors.hpp"
#include "tests/fuzz/read_file.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace stillbit::fuzz {
namespace {

using File = std::vector<std::byte>;

constexpr std::uint64_t kInteresting[] = {0,
                                          1,
                                          2,
                                          7,
                                          8,
                                          15,
                                          16,
                                          31,
                                          32,
                                          63,
                                          64,
                                          127,
                                          128,
                                          255,
                                          256,
                                          65535,
                                          65536,
                                          0x7FFFFFFF,
                                          0x80000000,
                                          0xFFFFFFFF,
                                          0x100000000,
                                          0x3FFFFFFFFFFFFFFF,
                                          0x7FFFFFFFFFFFFFFF,
                                          0x8000000000000000,
                                          0xFFFFFFFFFFFFFFFF};

/// Places of a file: its header, the start of a payload, anywhere.
std::size_t choose_place(const File& file, std::size_t data_offset, std::mt19937_64& random) {
  const std::size_t header_end = std::min(data_offset, file.size());
  switch (random() % 4) {
    case 0:
      return random() % std::max<std::size_t>(1, header_end);
    case 1:
      return std::min(file.size() - 1, header_end + random() % 160);
    default:
      return random() % file.size();
  }
}

void mutate_once(File& file, std::size_t data_offset, const std::vector<File>& corpus, std::mt19937_64& random) {
  if (file.empty()) return;
  const std::size_t at = choose_place(file, data_offset, random);
  switch (random() % 9) {
    case 0:
    case 1:
      file[at] ^= static_cast<std::byte>(1U << (random() % 8));
      break;
    case 2:
      file[at] = static_cast<std::byte>(random());
      break;
    case 3:
    case 4: {
      const std::uint64_t value = kInteresting[random() % std::size(kInteresting)];
      std::memcpy(file.data() + at, &value, std::min<std::size_t>(std::size_t{1} << (random() % 4), file.size() - at));
      break;
    }
    case 5:
      file.resize(at);
      break;
    case 6: {
      const std::size_t count = std::min<std::size_t>(random() % 64, file.size() - at);
      file.erase(file.begin() + static_cast<std::ptrdiff_t>(at),
                 file.begin() + static_cast<std::ptrdiff_t>(at + count));
      break;
    }
    case 7: {
      const std::size_t count = std::min<std::size_t>(random() % 64, file.size() - at);
      const File part(file.begin() + static_cast<std::ptrdiff_t>(at),
                      file.begin() + static_cast<std::ptrdiff_t>(at + count));
      file.insert(file.begin() + static_cast<std::ptrdiff_t>(at), part.begin(), part.end());
      break;
    }
    default: {
      const File& other = corpus[random() % corpus.size()];
      const std::size_t from = random() % other.size();
      const std::size_t count = std::min({std::size_t{1} << (random() % 12), other.size() - from, file.size() - at});
      std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), count,
                  file.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
}

/// Makes the checksums of the manifest and of all payloads right, as far as the file can be read.
void repair_checksums(File& file) {
  const auto header = format::parse_safetensors(file);
  if (!header.ok()) return;
  const auto& metadata = header.value().metadata;
  const auto text = metadata.find("stillbit");
  const auto old = metadata.find("stillbit.checksum");
  if (text != metadata.end() && old != metadata.end() && old->second.size() == 16) {
    const auto needle = std::as_bytes(std::span(old->second));
    const auto at = std::search(file.begin(), file.end(), needle.begin(), needle.end());
    const std::string hex = to_hex(digest(std::as_bytes(std::span(text->second))));
    if (at != file.end()) std::transform(hex.begin(), hex.end(), at, [](char c) { return static_cast<std::byte>(c); });
  }
  for (const auto& entry : header.value().entries) {
    const std::uint64_t size = entry.end - entry.begin;
    if (size < 16) continue;
    std::byte* payload = file.data() + header.value().data_offset + entry.begin;
    store(payload + 8, cpu::checksum({payload + 16, size - 16}, 1));
  }
}

File mutant(const std::vector<File>& corpus, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  File file = corpus[random() % corpus.size()];
  const std::size_t data_offset = 8 + load<std::uint64_t>(file.data());
  for (std::uint64_t n = 1 + random() % 4; n > 0; --n) mutate_once(file, data_offset, corpus, random);
  if (random() % 2 == 0) repair_checksums(file);
  return file;
}

File read(const char* path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  if (text.size() < 8) {
    std::fprintf(stderr, "%s: cannot be read\n", path);
    std::exit(2);
  }
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

int run(std::uint64_t num_files, std::uint64_t first_seed, const std::vector<File>& corpus) {
  std::atomic<std::uint64_t> counts[3] = {};
  std::atomic<std::int64_t> slowest_ms{0};
  constexpr std::uint64_t kPerTask = 1000;
  unwrap(cpu::parallel_for((num_files + kPerTask - 1) / kPerTask, cpu::resolve_threads(0),
                           [&](std::uint64_t task, unsigned) -> Result<void> {
                             const std::uint64_t end = std::min(num_files, (task + 1) * kPerTask);
                             for (std::uint64_t i = task * kPerTask; i < end; ++i) {
                               const File file = mutant(corpus, first_seed + i);
                               const auto start = std::chrono::steady_clock::now();
                               ++counts[static_cast<int>(read_file(file))];
                               const auto elapsed = std::chrono::steady_clock::now() - start;
                               const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count();
                               for (auto seen = slowest_ms.load();
                                    seen < ms && !slowest_ms.compare_exchange_weak(seen, ms);) {
                               }
                             }
                             return {};
                           }));
  std::printf(
      "%llu mutated files: %llu refused, %llu decoded with their checksums, %llu well-formed without them; slowest "
      "%lld ms\n",
      static_cast<unsigned long long>(num_files), static_cast<unsigned long long>(counts[0]),
      static_cast<unsigned long long>(counts[1]), static_cast<unsigned long long>(counts[2]),
      static_cast<long long>(slowest_ms));
  // Mutants of every kind must have come up, or little was tried.
  return num_files >= 10000 && (counts[0] == 0 || counts[1] == 0 || counts[2] == 0) ? 1 : 0;
}

}  // namespace
}  // namespace stillbit::fuzz

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: stillbit_mutate NUM_FILES SEED FILE...\n");
    return 2;
  }
  std::vector<stillbit::fuzz::File> corpus;
  for (int i = 3; i < argc; ++i) corpus.push_back(stillbit::fuzz::read(argv[i]));
  return stillbit::fuzz::run(std::strtoull(argv[1], nullptr, 10), std::strtoull(argv[2], nullptr, 10), corpus);
}
