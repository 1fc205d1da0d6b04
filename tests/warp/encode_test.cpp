// Any plan, whether or not a planner would make it: warps encode rows to the same bytes as the CPU.

#include "gpu/warp_encoders.hpp"
#include "codecs/escape/escape.hpp"
#include "codecs/ibp/ibp.hpp"
#include "codecs/window/window.hpp"
#include "tests/support/host_table.hpp"
#include "tests/support/rows.hpp"
#include "warp/compress.hpp"
#include "warp/host_warp.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <random>

namespace stillbit {
namespace {

using testing::Row;
using testing::SectionMemory;

constexpr unsigned kViews[] = {1, 2, 4, 8};

/// A row as a warp stores it; the row itself where that is raw. Its memory ends where a warp may read no further, and
/// was not cleared but for the row.
Row encoded_by_warp(const RowCodec& codec, const Row& row, std::uint32_t first_byte) {
  const warp::PlanBytes plan_bytes = codec.warp_encode_plan();
  const SectionMemory plan(plan_bytes.bytes);
  const auto num_bytes = static_cast<std::uint32_t>(row.size());
  const std::uint32_t stage_bytes = warp::compress_stage_bytes(num_bytes);
  Row staged(stage_bytes, std::byte{0xA5});
  std::copy(row.begin(), row.end(), staged.begin() + first_byte);
  const SectionMemory stage(staged, 0);
  const SectionMemory output(Row(stage_bytes), 0);
  const SectionMemory scratch(Row(warp::kScratchBytes, std::byte{0xA5}), 0);
  const std::uint32_t stored = with_warp_encoder(codec.codec(), plan_bytes.view_bytes, [&](auto encoder) {
    using Encoder = decltype(encoder);
    warp::HostWarp warp;
    return Encoder::encode(warp, *reinterpret_cast<const typename Encoder::Plan*>(plan.data()),
                           {reinterpret_cast<const std::uint32_t*>(stage.data()), first_byte, num_bytes},
                           reinterpret_cast<std::uint32_t*>(output.data()), scratch.data());
  });
  if (stored == warp::kStoredRaw) return row;
  const Row all(output.data(), output.data() + stage_bytes);
  // Zeros are what a slot is filled up with.
  EXPECT_TRUE(std::all_of(all.begin() + stored, all.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  return {all.begin(), all.begin() + stored};
}

/// Random numbers of a case, from a seed that rapidcheck chooses.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits(unsigned count) { return count == 0 ? 0 : engine_() >> (64 - count); }
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  bool happens(double probability) { return static_cast<double>(bits(53)) * 0x1p-53 < probability; }

 private:
  std::mt19937_64 engine_;
};

/// Rows of words, some with none out of the ordinary, some with few, some with many.
template <class MakeWord>
void expect_same_bytes(const RowCodec& codec, std::uint64_t num_columns, unsigned view_bytes, Random& random,
                       const MakeWord& make_word) {
  for (const double odd : {0.0, 0.0, 0.01, 0.1, 0.5}) {
    Row row(num_columns * view_bytes);
    for (std::uint64_t column = 0; column < num_columns; ++column) {
      const std::uint64_t word = make_word(column, random.happens(odd));
      std::memcpy(row.data() + column * view_bytes, &word, view_bytes);
    }
    const auto first_byte = static_cast<std::uint32_t>(random.below(2) * random.below(16));
    RC_ASSERT(encoded_by_warp(codec, row, first_byte) == testing::encoded(codec, row));
  }
}

std::uint64_t any_width() {
  return *rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(1, 70), rc::gen::inRange<std::uint64_t>(200, 1200));
}

RC_GTEST_PROP(WarpEncoders, WindowGivesTheBytesOfTheCpu, ()) {
  Random random(*rc::gen::arbitrary<std::uint64_t>());
  for (const unsigned view_bytes : kViews) {
    const std::uint64_t num_columns = any_width();
    const unsigned word_bits = 8 * view_bytes;
    window::Plan plan;
    plan.row_bytes = num_columns * view_bytes;
    plan.view_bytes = view_bytes;
    plan.is_signed = random.happens(0.5);
    plan.dropped_bits = random.happens(0.5) ? 0 : static_cast<unsigned>(random.below(word_bits));
    plan.base_bytes = view_bytes;
    const unsigned most = std::min(plan.value_bits(), fields::max_field_bits(view_bytes));
    plan.field_bits = static_cast<unsigned>(random.below(most + 1));
    plan.bases.resize(random.happens(0.5) ? 1 : num_columns);
    for (std::uint64_t& base : plan.bases) base = random.bits(plan.value_bits());
    if (window::minimum_row_bytes(plan) >= plan.row_bytes) continue;
    const std::uint64_t num_offsets = plan.field_bits == 0 ? 1 : (std::uint64_t{1} << plan.field_bits) - 1;
    expect_same_bytes(*window::make(plan), num_columns, view_bytes, random, [&](std::uint64_t column, bool is_odd) {
      if (is_odd) return random.bits(word_bits);
      const std::uint64_t value = (plan.bases[column % plan.bases.size()] + random.below(num_offsets)) &
                                  ~std::uint64_t{0} >> (64 - plan.value_bits());
      if (!plan.is_signed) return value << plan.dropped_bits;
      return value >> 1 << plan.dropped_bits | (value & 1) << (word_bits - 1);
    });
  }
}

RC_GTEST_PROP(WarpEncoders, EscapeGivesTheBytesOfTheCpu, ()) {
  Random random(*rc::gen::arbitrary<std::uint64_t>());
  for (const unsigned view_bytes : kViews) {
    const std::uint64_t num_columns = any_width();
    const unsigned word_bits = 8 * view_bytes;
    escape::Plan plan;
    plan.row_bytes = num_columns * view_bytes;
    plan.view_bytes = view_bytes;
    plan.sign_bits = random.happens(0.7) ? 1 : 0;
    const unsigned narrowest = escape::min_symbol_bits(view_bytes);
    plan.symbol_bits =
        narrowest + static_cast<unsigned>(random.below(escape::max_symbol_bits(view_bytes) - narrowest + 1));
    const unsigned rest_bits = word_bits - 1 - plan.symbol_bits;
    plan.dropped_bits = random.happens(0.7) ? 0 : static_cast<unsigned>(random.below(rest_bits + 1));
    const std::uint64_t middle = random.bits(plan.symbol_bits);
    const std::uint64_t symbol_mask = (std::uint64_t{1} << plan.symbol_bits) - 1;
    plan.tiers.resize(1 + random.below(escape::kMaxTiers));
    for (escape::Tier& tier : plan.tiers) {
      tier.bits = 1 + static_cast<unsigned>(random.below(escape::kMaxTierBits));
      for (unsigned i = 1; i < 1U << tier.bits; ++i)
        tier.symbols.push_back(static_cast<std::uint16_t>((middle + random.below(24)) & symbol_mask));
    }
    plan.row_shifts = random.happens(0.5);
    if (random.happens(0.3)) {
      plan.column_shifts.resize(num_columns);
      for (std::uint16_t& shift : plan.column_shifts) shift = static_cast<std::uint16_t>(random.below(3) & symbol_mask);
    }
    if (escape::minimum_row_bytes(plan) >= plan.row_bytes) continue;
    const bool breaks_rules = random.happens(0.1);
    expect_same_bytes(*escape::make(plan), num_columns, view_bytes, random, [&](std::uint64_t, bool is_odd) {
      const std::uint64_t common = plan.tiers[0].symbols[random.below(plan.tiers[0].symbols.size())] + 1U;
      const std::uint64_t symbol = is_odd ? random.bits(plan.symbol_bits) : common & symbol_mask;
      const std::uint64_t sign = plan.sign_bits == 0 ? 0 : random.bits(1);
      const std::uint64_t rest = random.bits(rest_bits - plan.dropped_bits) << plan.dropped_bits;
      const std::uint64_t forbidden = breaks_rules && is_odd ? random.bits(word_bits) : 0;
      return sign << (word_bits - 1) | symbol << rest_bits | rest | forbidden;
    });
  }
}

RC_GTEST_PROP(WarpEncoders, IbpGivesTheBytesOfTheCpu, ()) {
  Random random(*rc::gen::arbitrary<std::uint64_t>());
  for (const unsigned view_bytes : kViews) {
    const std::uint64_t num_columns = any_width();
    const unsigned word_bits = 8 * view_bytes;
    std::vector<ibp::Entry> palette(1 + random.below(5));
    for (ibp::Entry& entry : palette) {
      entry.mask = random.happens(0.2) ? ~std::uint64_t{0} >> (64 - word_bits) : random.bits(word_bits);
      entry.constant = entry.mask & (random.happens(0.5) ? entry.mask : random.bits(word_bits));
      entry.value = entry.mask & random.bits(word_bits);
    }
    std::vector<ibp::Entry> columns(num_columns);
    for (ibp::Entry& entry : columns) entry = palette[random.below(palette.size())];
    const ibp::Plan plan = ibp::make_plan(num_columns * view_bytes, view_bytes, columns);
    if (ibp::minimum_row_bytes(plan) >= plan.row_bytes) continue;
    const bool breaks_rules = random.happens(0.1);
    expect_same_bytes(*ibp::make(plan), num_columns, view_bytes, random, [&](std::uint64_t column, bool is_odd) {
      const ibp::Entry& entry = columns[column];
      const std::uint64_t may_differ = is_odd ? (breaks_rules ? entry.mask : entry.patch()) : 0;
      return entry.value ^ (random.bits(word_bits) & (~entry.mask | may_differ));
    });
  }
}

}  // namespace
}  // namespace stillbit
