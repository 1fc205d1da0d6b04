// Kernels of every instruction set against plain arithmetic, bit by bit.

#include "pooling/kernels.hpp"

#include "tests/support/pool_reference.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace stillbit::pooling {
namespace {

using testing::element_bits;
using testing::pooled_element;

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};

/// Elements of random bits, and among them those that are special.
std::vector<std::byte> random_elements(DType dtype, std::uint64_t count, bool is_any, std::mt19937_64& random) {
  const unsigned width = num_bytes(dtype);
  std::vector<std::byte> elements(count * width + kSlack);
  const unsigned bits = 8 * width;
  const unsigned fraction_bits = dtype == DType::kF16 ? 10 : dtype == DType::kBF16 ? 7 : dtype == DType::kF32 ? 23 : 52;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t word = random();
    if (!is_any) {
      // Numbers from 1/8 to 16: sums of them are rounded, and halfway cases are frequent.
      const std::uint64_t bias = (std::uint64_t{1} << (bits - fraction_bits - 2)) - 1;
      word = (word & ((std::uint64_t{1} << fraction_bits) - 1)) | (bias - 3 + random() % 7) << fraction_bits |
             (random() & 1) << (bits - 1);
    }
    std::memcpy(elements.data() + i * width, &word, width);
  }
  return elements;
}

class PoolKernels : public ::testing::TestWithParam<DType> {};

TEST_P(PoolKernels, GiveWhatPlainArithmeticGivesOnEveryInstructionSet) {
  const DType dtype = GetParam();
  const unsigned width = num_bytes(dtype);
  std::mt19937_64 random(1);
  constexpr std::uint64_t kNumRows = 9;
  // The second bag has no rows; the third is pooled in two calls, as if batches ended there.
  const std::vector<std::uint64_t> bag_ends = {3, 3, 8, 9};
  for (const std::uint64_t num_columns : {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 128, 200, 257, 520}) {
    const std::uint64_t row_bytes = num_columns * width;
    for (const bool is_any : {false, true}) {
      const auto elements = random_elements(dtype, kNumRows * num_columns, is_any, random);
      const auto factors = random_elements(dtype, kNumRows, is_any, random);
      std::vector<const std::byte*> rows;
      std::vector<std::uint64_t> weights;
      for (std::uint64_t i = 0; i < kNumRows; ++i) {
        rows.push_back(elements.data() + i * row_bytes);
        weights.push_back(element_bits(dtype, factors.data(), i));
      }
      for (const PoolMode mode : {PoolMode::kSum, PoolMode::kMean, PoolMode::kMax}) {
        for (const bool is_weighted : {false, true}) {
          if (is_weighted && mode != PoolMode::kSum) continue;
          for (const Arithmetic arithmetic : {Arithmetic::kFused, Arithmetic::kSeparate}) {
            for (const cpu::Isa isa : cpu::kAllIsas) {
              if (!cpu::supported(isa)) continue;
              std::vector<std::byte> out(bag_ends.size() * row_bytes + 1, std::byte{0xAB});
              std::vector<std::byte> state(state_bytes(row_bytes));
              const auto piece = [&](std::uint64_t bag, std::uint64_t num_rows, bool begins, bool ends) {
                const std::uint64_t of_bag = bag_ends[bag] - (bag == 0 ? 0 : bag_ends[bag - 1]);
                const bool divides = ends && mode == PoolMode::kMean;
                return Piece{out.data() + bag * row_bytes, num_rows,
                             divides ? std::max<std::uint64_t>(1, of_bag) : std::uint64_t{0}, begins, ends};
              };
              const Piece first[] = {piece(0, 3, true, true), piece(1, 0, true, true), piece(2, 2, true, false)};
              const Piece second[] = {piece(2, 3, false, false)};
              const Piece third[] = {piece(2, 0, false, true), piece(3, 1, true, true)};
              const Kernels& found = *kernels(dtype, isa);
              const auto run = [&](std::uint64_t row, std::span<const Piece> pieces) {
                const Batch batch{rows.data() + row, is_weighted ? factors.data() + row * width : nullptr,
                                  pieces.data(),     pieces.size(),
                                  row_bytes,         arithmetic,
                                  state.data()};
                mode == PoolMode::kMax ? found.max(batch) : found.sum(batch);
              };
              run(0, first);
              run(5, second);
              run(8, third);
              EXPECT_EQ(out.back(), std::byte{0xAB}) << "written behind the last result";
              for (std::uint64_t bag = 0; bag < bag_ends.size(); ++bag) {
                const auto begin = static_cast<std::ptrdiff_t>(bag == 0 ? 0 : bag_ends[bag - 1]);
                const auto end = static_cast<std::ptrdiff_t>(bag_ends[bag]);
                const std::vector bag_rows(rows.begin() + begin, rows.begin() + end);
                const std::vector bag_weights = is_weighted
                                                    ? std::vector(weights.begin() + begin, weights.begin() + end)
                                                    : std::vector<std::uint64_t>();
                for (std::uint64_t column = 0; column < num_columns; ++column) {
                  ASSERT_EQ(
                      element_bits(dtype, out.data() + bag * row_bytes, column),
                      pooled_element(dtype, mode, bag_rows, bag_weights, arithmetic == Arithmetic::kSeparate, column))
                      << name(dtype) << ' ' << cpu::name(isa) << " mode " << static_cast<int>(mode) << " weighted "
                      << is_weighted << " bag " << bag << " column " << column << " of " << num_columns;
                }
              }
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PoolKernels, ::testing::ValuesIn(kDTypes),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(PoolKernels, AreThereForFloatsOnly) {
  for (unsigned i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool is_float = std::find(std::begin(kDTypes), std::end(kDTypes), dtype) != std::end(kDTypes);
    EXPECT_EQ(kernels(dtype) != nullptr, is_float) << name(dtype);
  }
}

}  // namespace
}  // namespace stillbit::pooling
