// Damaged payloads: warps find the same rows corrupt as the CPU's own code, and give the same bits for the others.

#include "api/compressed_tensor.hpp"
#include "tests/support/host_table.hpp"
#include "tests/support/make_tensor.hpp"

#include <stillbit/error.hpp>

#include <gtest/gtest.h>

#include <random>

namespace stillbit {
namespace {

using testing::HostTable;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::Row;
using testing::Values;

constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};

/// How often both found a row sound, and corrupt.
struct Verdicts {
  std::uint64_t num_sound = 0;
  std::uint64_t num_corrupt = 0;
};

/// Has both expand every row by itself.
void expect_the_same(const CompressedTensor& tensor, Verdicts& verdicts) {
  const HostTable table(tensor);
  for (std::uint64_t row = 0; row < tensor.num_rows(); ++row) {
    const std::vector<std::int64_t> index{static_cast<std::int64_t>(row)};
    Row expected(tensor.row_bytes());
    bool is_sound = true;
    try {
      tensor.gather(index, expected, 1);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
      is_sound = false;
    }
    Row out(tensor.row_bytes());
    const warp::Status status = table.gather(std::span<const std::int64_t>(index), out.data());
    ASSERT_EQ(status.fault, static_cast<std::uint32_t>(is_sound ? warp::Fault::kNone : warp::Fault::kCorruptRow))
        << "row " << row;
    if (is_sound) {
      ASSERT_EQ(out, expected) << "row " << row;
    }
    (is_sound ? verdicts.num_sound : verdicts.num_corrupt) += 1;
  }
}

using Random = std::mt19937_64;
using Damage = void (*)(CompressedTensor::Impl&, Random&);

void flip_bits(Buffer& section, std::uint64_t num_bits, Random& random) {
  if (section.size() == 0) return;
  for (std::uint64_t i = 0; i < num_bits; ++i)
    section.data()[random() % section.size()] ^= static_cast<std::byte>(1U << random() % 8);
}

/// Damages a tensor of every codec, again and again, and compares.
void expect_the_same_of_damaged(Packing packing, Damage damage, Verdicts& verdicts) {
  Random random(7);  // NOLINT(bugprone-random-generator-seed): the same damage in every run
  for (const Codec codec : kCodecs) {
    for (const Values values : testing::kAllValues) {
      for (const DType dtype : {DType::kI8, DType::kBF16, DType::kF32, DType::kF64}) {
        const OwnedTensor raw = make_tensor(dtype, {40, 37}, values, 3);
        CompressOptions options;
        options.codec = codec;
        options.packing = packing;
        options.num_threads = 1;
        CompressedTensor tensor = compress(raw.view(), options);
        if (packing == Packing::kSlotted) {
          // Rows unlike those that the plan was made for leave the slots.
          const OwnedTensor rows = make_tensor(dtype, {10, 37}, Values::kOutliers, random());
          tensor.append(rows.data);
          tensor.append(make_tensor(dtype, {5, 37}, Values::kRandomBits, random()).data);
        }
        auto impl = CompressedTensor::release(std::move(tensor));
        for (int round = 0; round < 4; ++round) {
          damage(*impl, random);
          CompressedTensor damaged(std::move(impl));
          ASSERT_NO_FATAL_FAILURE(expect_the_same(damaged, verdicts))
              << name(codec) << ' ' << name(values) << ' ' << name(dtype) << ", round " << round;
          impl = CompressedTensor::release(std::move(damaged));
        }
      }
    }
  }
}

TEST(WarpMalformed, FlippedBitsOfPackedRows) {
  Verdicts verdicts;
  expect_the_same_of_damaged(
      Packing::kPacked,
      [](CompressedTensor::Impl& impl, Random& random) { flip_bits(impl.rows, impl.rows.size() / 20 + 1, random); },
      verdicts);
  EXPECT_GT(verdicts.num_sound, 1000U);
  EXPECT_GT(verdicts.num_corrupt, 1000U);
}

TEST(WarpMalformed, FlippedBitsOfSlotsAndTails) {
  Verdicts verdicts;
  expect_the_same_of_damaged(
      Packing::kSlotted,
      [](CompressedTensor::Impl& impl, Random& random) {
        flip_bits(impl.rows, impl.rows.size() / 50 + 1, random);
        flip_bits(impl.overflow, impl.overflow.size() / 50 + 1, random);
      },
      verdicts);
  EXPECT_GT(verdicts.num_sound, 1000U);
  EXPECT_GT(verdicts.num_corrupt, 1000U);
}

TEST(WarpMalformed, FlippedBitsOfMapAndIndex) {
  Verdicts verdicts;
  expect_the_same_of_damaged(
      Packing::kPacked,
      [](CompressedTensor::Impl& impl, Random& random) {
        flip_bits(impl.index, 2, random);
        flip_bits(impl.map, 2, random);
      },
      verdicts);
  EXPECT_GT(verdicts.num_sound, 1000U);
  EXPECT_GT(verdicts.num_corrupt, 1000U);
}

TEST(WarpMalformed, TruncatedOverflow) {
  Verdicts verdicts;
  expect_the_same_of_damaged(
      Packing::kSlotted,
      [](CompressedTensor::Impl& impl, Random& random) {
        if (impl.overflow.size() == 0) return;
        impl.overflow.resize(random() % impl.overflow.size());
        impl.header.overflow_bytes = impl.overflow.size();
      },
      verdicts);
  EXPECT_GT(verdicts.num_sound, 1000U);
  EXPECT_GT(verdicts.num_corrupt, 1000U);
}

}  // namespace
}  // namespace stillbit
