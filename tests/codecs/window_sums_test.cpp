// Rows that are added as they are expanded, against rows that are expanded first.

#include "codecs/window/window.hpp"
#include "core/buffer.hpp"
#include "format/payload.hpp"
#include "pooling/kernels.hpp"
#include "pooling/slots.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace stillbit::window {
namespace {

using pooling::Piece;
using pooling::SlotBatch;

constexpr std::uint64_t low_mask(unsigned num_bits) {
  return (std::uint64_t{1} << num_bits) - 1;
}

constexpr std::uint64_t kNumRows = 21;

Plan plan_for(std::uint64_t num_columns, unsigned field_bits, unsigned dropped_bits, bool has_column_bases,
              std::mt19937_64& random) {
  Plan plan;
  plan.row_bytes = 2 * num_columns;
  plan.view_bytes = 2;
  plan.is_signed = true;
  plan.dropped_bits = dropped_bits;
  plan.field_bits = field_bits;
  plan.base_bytes = 2;
  plan.bases.resize(has_column_bases ? num_columns : 1);
  for (std::uint64_t& base : plan.bases) base = random() & low_mask(plan.value_bits());
  return plan;
}

/// Encoded rows in slots, and the same rows expanded.
class Slots {
 public:
  Slots(const Plan& plan, std::uint64_t most_exceptions, std::mt19937_64& random)
      : codec_(make(plan)),
        row_bytes_(plan.row_bytes),
        slot_bytes_(minimum_row_bytes(plan) + 2 * most_exceptions + 1 + format::kSlotTagBytes),
        slots_(kNumRows * slot_bytes_ + RowCodec::kSlack),
        expanded_(kNumRows * row_bytes_ + RowCodec::kSlack) {
    std::memset(slots_.data(), 0, slots_.size());
    for (std::uint64_t r = 0; r < kNumRows; ++r) {
      std::byte* const row = expanded_.data() + r * row_bytes_;
      for (std::uint64_t i = 0; i < plan.num_columns(); ++i) {
        const std::uint64_t offset = random() % low_mask(plan.field_bits);
        const std::uint64_t value = (plan.bases[i % plan.bases.size()] + offset) & low_mask(plan.value_bits());
        store(row + 2 * i, static_cast<std::uint16_t>(value >> 1 << plan.dropped_bits | (value & 1) << 15));
      }
      for (std::uint64_t i = random() % (most_exceptions + 1); i > 0; --i)
        store(row + 2 * (random() % plan.num_columns()), static_cast<std::uint16_t>(random()));
      std::vector<std::byte> stored(row_bytes_ + RowCodec::kSlack);
      const std::uint64_t size = codec_->encode(row, stored.data());
      EXPECT_LT(size, slot_bytes_);
      std::copy_n(stored.data(), size, slots_.data() + r * slot_bytes_);
    }
  }

  [[nodiscard]] const RowCodec& codec() const { return *codec_; }
  [[nodiscard]] std::uint64_t slot_bytes() const { return slot_bytes_; }
  std::byte* slot(std::uint64_t row) { return slots_.data() + row * slot_bytes_; }
  [[nodiscard]] const std::byte* expanded(std::uint64_t row) const { return expanded_.data() + row * row_bytes_; }

 private:
  std::unique_ptr<RowCodec> codec_;
  std::uint64_t row_bytes_;
  std::uint64_t slot_bytes_;
  Buffer slots_;
  Buffer expanded_;
};

/// Bags of 7, 0, 1 and 9 rows, and 4 of a bag that another batch ends: what becomes of these is in `state`.
class Bags {
 public:
  explicit Bags(std::uint64_t row_bytes) : out_(4 * row_bytes), state_(pooling::state_bytes(row_bytes)) {
    constexpr std::uint64_t kNumRowsOf[] = {7, 0, 1, 9, 4};
    for (const std::uint64_t num_rows : kNumRowsOf) {
      Piece& piece = pieces_.emplace_back();
      piece.num_rows = num_rows;
      piece.ends = num_rows != 4;
      piece.divisor = num_rows == 9 ? 9 : 0;
      piece.out = piece.ends ? out_.data() + (pieces_.size() - 1) * row_bytes : nullptr;
    }
  }

  void set(pooling::Batch& batch, std::uint64_t row_bytes) {
    batch.pieces = pieces_.data();
    batch.num_pieces = pieces_.size();
    batch.row_bytes = row_bytes;
    batch.state = state_.data();
  }

  /// The results, and the sums of the bag that has none yet: of each vector first the elements with even numbers.
  [[nodiscard]] const std::vector<std::byte>& out() const { return out_; }
  [[nodiscard]] std::vector<float> state(std::uint64_t row_bytes) const {
    std::vector<float> sums(2 * (row_bytes / 64 * 64) / sizeof(float));
    if (!sums.empty()) std::memcpy(sums.data(), state_.data(), sums.size() * sizeof(float));
    for (float& sum : sums) sum = std::isnan(sum) ? 0 : sum;  // which NaN it is has no meaning yet
    return sums;
  }

 private:
  std::vector<std::byte> out_;
  std::vector<std::byte> state_;
  std::vector<Piece> pieces_;
};

/// Adds all rows of `slots`, some of which are handed over expanded, and expects what the pooling kernels make of them.
void expect_sums(const Plan& plan, DType dtype, Slots& slots, pooling::Arithmetic arithmetic) {
  std::vector<const std::byte*> expanded;
  std::vector<const std::byte*> mixed;
  SlotBatch batch;
  for (std::uint64_t r = 0; r < kNumRows; ++r) {
    const bool is_expanded = r % 5 == 2;
    expanded.push_back(slots.expanded(r));
    mixed.push_back(is_expanded ? slots.expanded(r) : slots.slot(r));
    if (is_expanded) batch.expanded |= std::uint64_t{1} << r;
  }
  pooling::Batch plain;
  Bags wanted(plan.row_bytes);
  wanted.set(plain, plan.row_bytes);
  plain.rows = expanded.data();
  plain.arithmetic = arithmetic;
  pooling::kernels(dtype)->sum(plain);

  Bags bags(plan.row_bytes);
  bags.set(batch, plan.row_bytes);
  batch.rows = mixed.data();
  batch.arithmetic = arithmetic;
  batch.num_rows = kNumRows;
  batch.slot_bytes = slots.slot_bytes();
  batch.num_requests = 2;
  batch.coming = mixed.data();
  batch.num_coming = kNumRows - 3;
  ASSERT_EQ(slots.codec().sum_slots(dtype, batch), kNumRows);
  const auto context = ::testing::Message() << plan.num_columns() << " columns, " << plan.field_bits << " bits, "
                                            << plan.dropped_bits << " dropped, " << plan.bases.size() << " bases";
  EXPECT_EQ(bags.out(), wanted.out()) << context;
  EXPECT_EQ(bags.state(plan.row_bytes), wanted.state(plan.row_bytes)) << context;
}

TEST(WindowSums, AreThoseOfExpandedRows) {
  if (cpu::active_isa() != cpu::Isa::kAvx512) GTEST_SKIP() << "rows are added as they are expanded with AVX-512 only";
  std::mt19937_64 random(1);
  for (const std::uint64_t num_columns : {9, 20, 32, 33, 64, 96, 127, 128, 200, 224, 256, 257, 288, 480, 512, 1000}) {
    for (const unsigned field_bits : {6U, 8U, 11U, 15U}) {
      for (const unsigned dropped_bits : {0U, 1U}) {
        for (const bool has_column_bases : {false, true}) {
          if (field_bits + dropped_bits > 15) continue;
          const Plan plan = plan_for(num_columns, field_bits, dropped_bits, has_column_bases, random);
          // A row that is not smaller than a raw one would be stored raw, which is not of a slot.
          const std::uint64_t most_exceptions =
              std::min({std::uint64_t{30}, num_columns / 16, (plan.row_bytes - 1 - minimum_row_bytes(plan)) / 2});
          Slots slots(plan, most_exceptions, random);
          for (const DType dtype : {DType::kBF16, DType::kF16}) {
            ASSERT_TRUE(slots.codec().sums_slots(dtype, slots.slot_bytes()));
            expect_sums(plan, dtype, slots, pooling::Arithmetic::kFused);
          }
          expect_sums(plan, DType::kBF16, slots, pooling::Arithmetic::kSeparate);
        }
      }
    }
  }
}

TEST(WindowSums, StopAtARowWithMoreMarkersThanExceptions) {
  if (cpu::active_isa() != cpu::Isa::kAvx512) GTEST_SKIP() << "rows are added as they are expanded with AVX-512 only";
  std::mt19937_64 random(2);
  const Plan plan = plan_for(300, 11, 0, false, random);
  Slots slots(plan, 3, random);
  std::vector<const std::byte*> rows;
  rows.reserve(kNumRows);
  for (std::uint64_t r = 0; r < kNumRows; ++r) rows.push_back(slots.slot(r));
  std::memset(slots.slot(13), 0xFF, minimum_row_bytes(plan));
  Bags bags(plan.row_bytes);
  SlotBatch batch;
  bags.set(batch, plan.row_bytes);
  batch.rows = rows.data();
  batch.num_rows = kNumRows;
  batch.slot_bytes = slots.slot_bytes();
  EXPECT_EQ(slots.codec().sum_slots(DType::kBF16, batch), 13U);
}

TEST(WindowSums, AreOfSignedHalvesWhoseExceptionsEndTheSlot) {
  std::mt19937_64 random(3);
  const Plan plan = plan_for(64, 11, 0, false, random);
  const std::uint64_t plane_bytes = minimum_row_bytes(plan);
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (!cpu::supported(isa)) continue;
    const auto codec = make(plan, isa);
    EXPECT_EQ(codec->sums_slots(DType::kBF16, plane_bytes + 8), isa == cpu::Isa::kAvx512);
    EXPECT_FALSE(codec->sums_slots(DType::kF32, plane_bytes + 8));
    EXPECT_FALSE(codec->sums_slots(DType::kBF16, plane_bytes));
    EXPECT_FALSE(codec->sums_slots(DType::kBF16, plane_bytes + 65));
    Plan other = plan;
    other.is_signed = false;
    EXPECT_FALSE(make(other, isa)->sums_slots(DType::kBF16, plane_bytes + 8));
    other = plan_for(64, 5, 0, false, random);
    EXPECT_FALSE(make(other, isa)->sums_slots(DType::kBF16, minimum_row_bytes(other) + 8));
  }
}

}  // namespace
}  // namespace stillbit::window
