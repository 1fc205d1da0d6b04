// Readers, a writer and prefetches at once. STILLBIT_TEST_SECONDS says for how long; ThreadSanitizer looks on in the
// preset `tsan`.

#include <stillbit/stillbit.hpp>

#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace stillbit {
namespace {

constexpr std::uint64_t kRows = 3000;
constexpr std::uint64_t kColumns = 32;
constexpr unsigned kReaders = 3;

double seconds() {
  const char* text = std::getenv("STILLBIT_TEST_SECONDS");
  return text == nullptr ? 1.0 : std::atof(text);
}

/// Every element of a row is its version: how often it was updated. Who reads it checks that it is whole, that it is no
/// older than what was written before the lookup began, and no newer than what was begun before it ended.
class Versions {
 public:
  explicit Versions(TieredTable& table) : table_(table) {}

  void write(std::mt19937_64& random) {
    std::vector<std::int64_t> index(20);
    std::vector<std::int32_t> rows;
    for (auto& row : index) row = drawn(random);
    std::sort(index.begin(), index.end());
    index.erase(std::unique(index.begin(), index.end()), index.end());
    for (const std::int64_t row : index) {
      const std::int32_t version = ++begun_[static_cast<std::size_t>(row)];
      rows.insert(rows.end(), kColumns, version);
    }
    table_.update(index, std::as_bytes(std::span(rows)));
    for (const std::int64_t row : index)
      done_[static_cast<std::size_t>(row)] = begun_[static_cast<std::size_t>(row)].load();
  }

  void read(std::mt19937_64& random, unsigned num_threads) {
    std::vector<std::int64_t> index(400);
    std::vector<std::int32_t> least;
    for (auto& row : index) {
      row = drawn(random);
      least.push_back(done_[static_cast<std::size_t>(row)]);
    }
    std::vector<std::int32_t> rows(index.size() * kColumns);
    table_.gather(index, std::as_writable_bytes(std::span(rows)), num_threads);
    for (std::size_t i = 0; i < index.size(); ++i) {
      const std::span row = std::span(rows).subspan(i * kColumns, kColumns);
      ASSERT_EQ(std::count(row.begin(), row.end(), row[0]), kColumns) << "row " << index[i] << " is not whole";
      ASSERT_GE(row[0], least[i]) << "row " << index[i] << " is of the past";
      ASSERT_LE(row[0], begun_[static_cast<std::size_t>(index[i])]) << "row " << index[i];
    }
  }

  void prefetch(std::mt19937_64& random) {
    std::vector<std::int64_t> index(100);
    for (auto& row : index) row = drawn(random);
    table_.prefetch(index, random() % 2 == 0);
  }

 private:
  static std::int64_t drawn(std::mt19937_64& random) {
    return static_cast<std::int64_t>(random() % (random() % 3 == 0 ? kRows : kRows / 20));
  }

  TieredTable& table_;
  std::array<std::atomic<std::int32_t>, kRows> begun_{};
  std::array<std::atomic<std::int32_t>, kRows> done_{};
};

void run(TieredTable table) {
  Versions versions(table);
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> num_reads{0};
  std::atomic<std::uint64_t> num_writes{0};
  {
    std::vector<std::jthread> threads;
    const auto repeat = [&](unsigned seed, const auto& act) {
      threads.emplace_back([&, seed, act] {
        std::mt19937_64 random(seed);
        while (!is_over && !::testing::Test::HasFatalFailure()) act(random);
      });
    };
    for (unsigned reader = 0; reader < kReaders; ++reader) {
      repeat(reader, [&, reader](std::mt19937_64& random) {
        versions.read(random, 1 + reader % 2);
        ++num_reads;
      });
    }
    repeat(100, [&](std::mt19937_64& random) {
      versions.write(random);
      ++num_writes;
    });
    repeat(101, [&](std::mt19937_64& random) {
      versions.prefetch(random);
      const TieredStatistics statistics = table.statistics();
      ASSERT_LE(statistics.fast.bytes, statistics.fast.budget_bytes);
      ASSERT_LE(statistics.warm.bytes, statistics.warm.budget_bytes);
    });
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds()));
    is_over = true;
  }
  EXPECT_GT(num_reads, 0U);
  EXPECT_GT(num_writes, 0U);
  EXPECT_GT(table.statistics().fast.num_lookups, 0U);
  table.close();
}

std::vector<std::int32_t> zeros() {
  return std::vector<std::int32_t>(kRows * kColumns);
}

TEST(TierThreads, ReadersSeeRowsOfATensorInMemoryWhole) {
  const auto raw = zeros();
  run(TieredTable(compress({raw.data(), DType::kI32, {kRows, kColumns}}, {.packing = Packing::kSlotted}),
                  {.fast_bytes = 40000}));
}

TEST(TierThreads, ReadersSeeRowsOfAMappedFileWhole) {
  const testing::TemporaryFolder folder;
  const auto raw = zeros();
  NamedTensors tensors;
  tensors.emplace_back("t", compress({raw.data(), DType::kI32, {kRows, kColumns}}, {.packing = Packing::kSlotted}));
  save(folder.path() / "t.safetensors", tensors);
  run(TieredTable::open(folder.path() / "t.safetensors", "t",
                        {.fast_bytes = 40000, .warm_bytes = 32 * kRows * kColumns}));
}

TEST(TierThreads, CloseWaitsForCallsThatAreUnderWay) {
  const auto raw = zeros();
  for (int round = 0; round < 20; ++round) {
    TieredTable table(compress({raw.data(), DType::kI32, {kRows, kColumns}}, {.packing = Packing::kSlotted}),
                      {.fast_bytes = 40000});
    std::atomic<bool> has_begun{false};
    std::jthread reader([&] {
      std::mt19937_64 random(1);
      Versions versions(table);
      try {
        while (true) {
          versions.prefetch(random);
          versions.read(random, 1);
          has_begun = true;
        }
      } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "the table is closed");
      }
    });
    while (!has_begun) std::this_thread::yield();
    table.close();
  }
}

}  // namespace
}  // namespace stillbit
