// Plans that are made once and followed by other tensors: always lossless, and as good as a plan of one's own where the
// rows are alike.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::Values;

constexpr Packing kPackings[] = {Packing::kPacked, Packing::kSlotted};
constexpr Codec kCodecs[] = {Codec::kRaw,    Codec::kIbp,        Codec::kWindow, Codec::kEscape,
                             Codec::kSparse, Codec::kDictionary, Codec::kRans};

CompressOptions following(const Plan& plan) {
  CompressOptions options;
  options.plan = std::make_shared<Plan>(plan);
  return options;
}

std::vector<std::byte> decompressed(const CompressedTensor& tensor) {
  std::vector<std::byte> out(tensor.raw_bytes());
  tensor.decompress(out);
  return out;
}

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kIo;
}

TEST(Plan, IsWhatCompressWouldFollow) {
  for (const Values values : testing::kAllValues) {
    for (const Packing packing : kPackings) {
      for (const auto& shape : {std::vector<std::uint64_t>{900, 40}, {5, 30000}, {3000, 3}}) {
        const OwnedTensor raw = make_tensor(DType::kF32, shape, values, 1);
        CompressOptions options;
        options.packing = packing;
        const Plan made = plan(raw.view(), options);
        const CompressedTensor own = compress(raw.view(), options);
        const CompressedTensor followed = compress(raw.view(), following(made));
        EXPECT_EQ(followed.stored_bytes(), own.stored_bytes()) << name(values) << ' ' << name(packing);
        EXPECT_EQ(followed.codec(), own.codec());
        EXPECT_EQ(followed.packing(), packing);
        EXPECT_EQ(made.prices(), own.info().prices);
        EXPECT_EQ(decompressed(followed), raw.data);
      }
    }
  }
}

TEST(Plan, OfOtherDataIsLossless) {
  for (const Values planned : testing::kAllValues) {
    const OwnedTensor sample = make_tensor(DType::kBF16, {2000, 48}, planned, 1);
    for (const Codec codec : kCodecs) {
      for (const Packing packing : kPackings) {
        CompressOptions options;
        options.codec = codec;
        options.packing = packing;
        const Plan made = plan(sample.view(), options);
        for (const Values values : testing::kAllValues) {
          for (const std::uint64_t num_rows : {0, 1, 7, 500}) {
            const OwnedTensor raw = make_tensor(DType::kBF16, {num_rows, 48}, values, 2);
            const CompressedTensor tensor = compress(raw.view(), following(made));
            ASSERT_EQ(decompressed(tensor), raw.data)
                << name(planned) << ' ' << name(codec) << ' ' << name(packing) << ' ' << name(values);
            EXPECT_LE(tensor.stored_bytes(), raw.data.size() + 256);
            tensor.verify();
          }
        }
      }
    }
  }
}

TEST(Plan, OfASampleIsAsGoodAsOneOfAll) {
  const OwnedTensor raw = make_tensor(DType::kF32, {20000, 64}, Values::kNormal, 1);
  const OwnedTensor sample = make_tensor(DType::kF32, {4000, 64}, Values::kNormal, 2);
  for (const Packing packing : kPackings) {
    CompressOptions options;
    options.packing = packing;
    const Plan made = plan(sample.view(), options, {20000, nullptr});
    EXPECT_EQ(made.num_rows(), 20000U);
    const auto own = static_cast<double>(compress(raw.view(), options).stored_bytes());
    const auto followed = static_cast<double>(compress(raw.view(), following(made)).stored_bytes());
    EXPECT_LT(followed, 1.005 * own);
    const auto price = std::find_if(made.prices().begin(), made.prices().end(),
                                    [&](const CodecPrice& of) { return of.codec == made.codec(); });
    EXPECT_NEAR(static_cast<double>(price->stored_bytes), followed, 0.01 * followed);
  }
}

/// Rows of 16 words of which only the low `num_bits` are ever set, and in the last row bit 15 of every word.
OwnedTensor rows_with_a_late_bit(std::uint64_t num_rows, unsigned num_bits) {
  OwnedTensor rows = make_tensor(DType::kU16, {num_rows, 16}, Values::kRandomBits, 1);
  const auto mask = static_cast<std::byte>((1U << num_bits) - 1);
  for (std::size_t i = 0; i < rows.data.size(); ++i) rows.data[i] &= i % 2 == 0 ? mask : std::byte{0};
  for (std::size_t i = rows.data.size() - 31; i < rows.data.size(); i += 2) rows.data[i] |= std::byte{0x80};
  return rows;
}

TEST(Plan, StatisticsOfAllRowsSayWhichBitsNeverDeviate) {
  constexpr std::uint64_t kRows = 4000;
  const OwnedTensor raw = rows_with_a_late_bit(kRows, 5);
  const TensorView sample{raw.data.data(), DType::kU16, {kRows / 2, 16}};
  BitStatistics statistics(32);
  statistics.add(raw.data);
  CompressOptions options;
  options.codec = Codec::kIbp;
  options.packing = Packing::kPacked;
  const Plan blind = plan(sample, options, {kRows, nullptr});
  const Plan informed = plan(sample, options, {kRows, &statistics});
  // The last row, taken by itself, has a bit that by the sample is 0 in all rows: it is stored raw there.
  const TensorView last{raw.data.data() + (kRows - 64) * 32, DType::kU16, {64, 16}};
  for (const Plan& made : {blind, informed}) {
    const CompressedTensor tensor = compress(last, following(made));
    EXPECT_EQ(tensor.codec(), Codec::kIbp);
    const auto rows = std::span(raw.data).last(64 * 32);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), decompressed(tensor).begin()));
  }
  EXPECT_NE(blind.to_json(), informed.to_json());
}

TEST(Plan, StatisticsMustBeOfAllRows) {
  const OwnedTensor sample = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  BitStatistics statistics(32);
  statistics.add(sample.data);
  EXPECT_EQ(plan(sample.view(), {}, {100, &statistics}).num_rows(), 100U);
  EXPECT_EQ(code_of([&] { (void)plan(sample.view(), {}, {200, &statistics}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { (void)plan(sample.view(), {}, {50, nullptr}); }), ErrorCode::kInvalidArgument);
  const TensorView none{nullptr, DType::kF32, {0, 8}};
  EXPECT_EQ(code_of([&] { (void)plan(none, {}, {50, nullptr}); }), ErrorCode::kInvalidArgument);
  BitStatistics narrow(4);
  EXPECT_EQ(code_of([&] { (void)plan(sample.view(), {}, {100, &narrow}); }), ErrorCode::kInvalidArgument);
}

TEST(Plan, IsForRowsOfItsDTypeAndShape) {
  const OwnedTensor sample = make_tensor(DType::kF32, {100, 8}, Values::kNormal, 1);
  const Plan made = plan(sample.view());
  for (const OwnedTensor& other :
       {make_tensor(DType::kF32, {100, 9}, Values::kNormal, 1), make_tensor(DType::kI32, {100, 8}, Values::kNormal, 1)})
    EXPECT_EQ(code_of([&] { (void)compress(other.view(), following(made)); }), ErrorCode::kInvalidArgument);
}

TEST(Plan, SurvivesAsText) {
  for (const Values values : testing::kAllValues) {
    for (const Packing packing : kPackings) {
      const OwnedTensor raw = make_tensor(DType::kF16, {700, 24}, values, 3);
      CompressOptions options;
      options.packing = packing;
      const Plan made = plan(raw.view(), options);
      const std::string text = made.to_json();
      const Plan again = Plan::from_json(text);
      EXPECT_EQ(again.to_json(), text);
      const CompressedTensor tensor = compress(raw.view(), following(again));
      EXPECT_EQ(tensor.stored_bytes(), compress(raw.view(), options).stored_bytes());
      EXPECT_EQ(decompressed(tensor), raw.data);
    }
  }
}

TEST(Plan, TextThatIsNoPlanIsRefused) {
  const OwnedTensor raw = make_tensor(DType::kF16, {700, 24}, Values::kNormal, 3);
  CompressOptions packed;
  packed.packing = Packing::kPacked;
  const std::string text = plan(raw.view(), packed).to_json();
  for (std::size_t size = 0; size < text.size(); size += 7)
    EXPECT_EQ(code_of([&] { (void)Plan::from_json(std::string_view(text).substr(0, size)); }), ErrorCode::kCorrupt);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return changed.replace(at, from.size(), to);
  };
  for (const std::string& changed :
       {with("\"dtype\":\"F16\"", "\"dtype\":\"F17\""), with("\"packing\":\"packed\"", "\"packing\":\"loose\""),
        with("\"packing\":\"packed\"", "\"packing\":\"slotted\""), with("\"row_shape\":[24]", "\"row_shape\":[0]"),
        with("\"row_shape\":[24]", "\"row_shape\":[25]"), with("\"stride\":0", "\"stride\":1"),
        with("\"stride\":0", "\"stride\":-1"), with("\"plan\":\"", "\"plan\":\"0"),
        with("\"plan\":\"", "\"plan\":\"xy"), with("\"plan\":\"", "\"plan\":\"ffffffffffffffff")})
    EXPECT_EQ(code_of([&] { (void)Plan::from_json(changed); }), ErrorCode::kCorrupt) << changed.substr(0, 200);
}

}  // namespace
}  // namespace stillbit
