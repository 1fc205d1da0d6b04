// Kernels of codec `sparse`: every instruction set stores and expands the same bits.

#include "codecs/sparse/kernels.hpp"
#include "codecs/sparse/layout.hpp"
#include "codecs/sparse/sparse.hpp"
#include "tests/support/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace stillbit::sparse {
namespace {

using testing::decoded;

/// The same numbers for the same seed on every machine.
std::mt19937_64 random_numbers(std::uint64_t seed) {
  return std::mt19937_64(seed);
}

/// Plans of every kind for rows of so many columns. What they code does not matter: other words are exceptions.
std::vector<Plan> plans_of_every_kind(unsigned view_bytes, std::uint64_t num_columns) {
  const unsigned word_bits = 8 * view_bytes;
  const std::uint64_t ones = ~std::uint64_t{0} >> (64 - word_bits);
  std::vector<Plan> plans;
  const unsigned column_bits = column_bits_for(num_columns);
  for (const unsigned low_bits : {0U, 1U, 2U, 5U, column_bits}) {
    if (low_bits > column_bits) continue;
    Plan plan{.row_bytes = num_columns * view_bytes, .view_bytes = view_bytes, .low_bits = low_bits, .values = {1}};
    if (minimum_row_bytes(plan) >= plan.row_bytes) continue;
    plans.push_back(plan);
    plan.values = {1, 2, ones, 0, 2};
    plan.code_bits = 3;
    plans.push_back(plan);
    plan.value_mode = ValueMode::kWindow;
    const auto add_window = [&](unsigned code_bits, unsigned sign_bits, unsigned zero_bits, std::uint64_t base) {
      plan.code_bits = code_bits;
      plan.sign_bits = sign_bits;
      plan.zero_bits = zero_bits;
      plan.values = {base};
      plans.push_back(plan);
    };
    add_window(word_bits, 0, 0, 0);
    add_window(word_bits, 1, 0, 5);
    add_window(3, 0, 0, ones - 1);
    add_window(word_bits - 2, 1, 2, 1);
    add_window(4, 1, 1, 0);
    add_window(0, 0, 0, 3);
  }
  return plans;
}

/// Rows in which `per_mille` of 1,000 words are not 0; half of those are small, and some of them negative.
std::vector<std::byte> rows_of(unsigned view_bytes, std::uint64_t num_words, unsigned per_mille, std::uint64_t seed) {
  std::mt19937_64 random = random_numbers(seed);
  std::vector<std::byte> rows(num_words * view_bytes);
  for (std::uint64_t i = 0; i < num_words; ++i) {
    if (random() % 1000 >= per_mille) continue;
    std::uint64_t word = random();
    if (word % 2 == 0) word = word / 2 % 4 == 0 ? 0 - word / 8 % 4 : word / 8 % 8;
    std::memcpy(rows.data() + i * view_bytes, &word, view_bytes);
  }
  return rows;
}

constexpr std::uint64_t kNumRows = 6;

/// Encodes the rows with the kernels of every instruction set, and decodes with each what each other stored.
void expect_kernels_agree(const Plan& plan, const std::vector<std::byte>& rows) {
  const RowLayoutStorage storage(plan);
  const RowLayout& layout = storage.layout();
  const std::uint64_t row_bytes = plan.row_bytes;
  const Kernels& portable = kernels(plan.view_bytes, cpu::Isa::kPortable);
  const auto codec = make(plan);
  std::vector<std::uint32_t> sizes(kNumRows);
  portable.measure(layout, rows.data(), kNumRows, sizes.data());
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (!cpu::supported(isa)) continue;
    const Kernels& other = kernels(plan.view_bytes, isa);
    std::vector<std::uint32_t> other_sizes(kNumRows);
    other.measure(layout, rows.data(), kNumRows, other_sizes.data());
    ASSERT_EQ(sizes, other_sizes);
    for (std::uint64_t i = 0; i < kNumRows; ++i) {
      // Alone in memory, for the sanitizer to see what is read around it.
      const auto first = rows.begin() + static_cast<std::ptrdiff_t>(i * row_bytes);
      const std::vector<std::byte> row(first, first + static_cast<std::ptrdiff_t>(row_bytes));
      std::vector<std::byte> stored(row_bytes + RowCodec::kSlack);
      std::vector<std::byte> other_stored(row_bytes + RowCodec::kSlack, std::byte{0xFF});
      ASSERT_EQ(portable.encode(layout, row.data(), stored.data()), sizes[i]);
      ASSERT_EQ(other.encode(layout, row.data(), other_stored.data()), sizes[i]);
      stored.resize(sizes[i]);
      ASSERT_TRUE(std::equal(stored.begin(), stored.end(), other_stored.begin()));
      if (isa == cpu::Isa::kPortable) {
        ASSERT_EQ(decoded(*codec, stored, row_bytes, stored.size() == row_bytes), row);
      }
      stored.resize(sizes[i] + RowCodec::kSlack, std::byte{0xFF});
      stored.shrink_to_fit();
      const bool is_raw = sizes[i] == row_bytes;
      // As it is, and as in a slot, where more bytes follow.
      for (const std::uint64_t more : {0U, 7U}) {
        const StoredRow found{stored.data(), sizes[i] + (is_raw ? 0 : more), is_raw};
        std::vector<std::byte> back(row_bytes, std::byte{0xEE});
        ASSERT_EQ(other.decode(layout, &found, 1, back.data()), 1U);
        ASSERT_EQ(back, row);
      }
    }
  }
}

TEST(SparseKernels, InstructionSetsAgreeBitForBit) {
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns :
         {2U, 3U, 7U, 8U, 15U, 16U, 17U, 31U, 33U, 63U, 64U, 65U, 127U, 130U, 1000U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        for (const unsigned per_mille : {0U, 20U, 300U, 1000U}) {
          const auto rows = rows_of(view_bytes, kNumRows * num_columns, per_mille, num_columns);
          ASSERT_NO_FATAL_FAILURE(expect_kernels_agree(plan, rows))
              << view_bytes << " bytes, " << num_columns << " columns, " << plan.low_bits << " low bits, " << per_mille
              << " per mille";
        }
      }
    }
  }
}

TEST(SparseKernels, SurviveAnyBytesAndAgreeOnThem) {
  std::mt19937_64 random = random_numbers(7);
  for (const unsigned view_bytes : {1U, 2U, 4U, 8U}) {
    for (const std::uint64_t num_columns : {2U, 9U, 64U, 100U, 500U}) {
      for (const Plan& plan : plans_of_every_kind(view_bytes, num_columns)) {
        const RowLayoutStorage storage(plan);
        const auto codec = make(plan);
        const auto rows = rows_of(view_bytes, num_columns, 100, num_columns);
        for (unsigned round = 0; round < 60; ++round) {
          // Random bytes with few or many ones, or a row with a few bits flipped, cut anywhere.
          std::vector<std::byte> stored(plan.row_bytes + RowCodec::kSlack);
          std::uint64_t size = kernels(view_bytes).encode(storage.layout(), rows.data(), stored.data());
          if (round % 2 == 0) {
            size = random() % plan.row_bytes;
            for (std::byte& byte : stored) byte = static_cast<std::byte>(random() & (round % 4 == 0 ? 255 : random()));
          } else {
            for (unsigned flips = 0; flips < 3 && size > 0; ++flips)
              stored[random() % size] ^= static_cast<std::byte>(1U << random() % 8);
            if (round % 3 == 0 && size > 0) size = random() % size;
          }
          stored.resize(size);
          const auto row_or_none = decoded(*codec, stored, plan.row_bytes);
          stored.resize(size + RowCodec::kSlack, std::byte{0xFF});
          stored.shrink_to_fit();
          const StoredRow found{stored.data(), size, false};
          std::vector<std::byte> expected(plan.row_bytes);
          const std::uint64_t num_decoded =
              kernels(view_bytes, cpu::Isa::kPortable).decode(storage.layout(), &found, 1, expected.data());
          ASSERT_EQ(row_or_none.has_value(), num_decoded == 1);
          for (const cpu::Isa isa : cpu::kAllIsas) {
            if (!cpu::supported(isa)) continue;
            std::vector<std::byte> row(plan.row_bytes);
            ASSERT_EQ(kernels(view_bytes, isa).decode(storage.layout(), &found, 1, row.data()), num_decoded);
            if (num_decoded == 1) {
              ASSERT_EQ(row, expected);
            }
          }
        }
      }
    }
  }
}

/// Wide rows: upper parts of many words, and columns of 20 bits.
TEST(SparseKernels, TheWidestRowsComeBack) {
  for (const unsigned view_bytes : {1U, 8U}) {
    const std::uint64_t num_columns = kMaxRowBytes / view_bytes;
    for (const unsigned low_bits : {0U, 5U, column_bits_for(num_columns)}) {
      const Plan plan{.row_bytes = kMaxRowBytes,
                      .view_bytes = view_bytes,
                      .low_bits = low_bits,
                      .code_bits = 8 * view_bytes,
                      .value_mode = ValueMode::kWindow,
                      .values = {0}};
      const auto rows = rows_of(view_bytes, kNumRows * num_columns, 20, 5);
      ASSERT_NO_FATAL_FAILURE(expect_kernels_agree(plan, rows));
    }
  }
}

TEST(SparseKernels, WordsWithoutAPlaceInTheTableAreExceptions) {
  // Words with equal hashes, more of them than are looked at: i times the factor's inverse becomes i again.
  std::uint64_t inverse = kHashFactor;
  for (int i = 0; i < 6; ++i) inverse *= 2 - kHashFactor * inverse;
  ASSERT_EQ(inverse * kHashFactor, 1U);
  Plan plan{.row_bytes = 4096, .view_bytes = 8, .low_bits = 4, .code_bits = 8, .values = {}};
  for (std::uint64_t i = 1; i <= 200; ++i) plan.values.push_back(i * inverse);
  plan.values.resize(256, inverse);  // and equal words
  std::vector<std::byte> rows(kNumRows * 4096);
  for (std::uint64_t i = 0; i < 200; ++i) store(rows.data() + 3 * i * 8, plan.values[i]);
  expect_kernels_agree(plan, rows);

  const RowLayoutStorage storage(plan);
  RowCounts counts;
  kernels(8).count(storage.layout(), rows.data(), 1, &counts);
  EXPECT_EQ(counts.num_elements, kMaxProbes);
  EXPECT_EQ(counts.num_exceptions, 512 / 3 + 1 - kMaxProbes);
}

}  // namespace
}  // namespace stillbit::sparse
