#include "format/payload.hpp"

#include "core/bytes.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace stillbit::format {
namespace {

/// A well-formed payload without contents: only headers are looked at here.
std::vector<std::byte> payload_of(const PayloadHeader& header) {
  std::vector<std::byte> bytes(layout_of(header).payload_bytes);
  const auto head = serialize(header);
  std::copy(head.begin(), head.end(), bytes.begin());
  return bytes;
}

PayloadHeader packed_header() {
  PayloadHeader header;
  header.dtype = DType::kF32;
  header.codec = Codec::kIbp;
  header.packing = Packing::kPacked;
  header.row_dims = 1;
  header.tile_bytes = 32;
  header.index_bits = 5;
  header.shape = {100, 8};
  header.geometry = {100, 32};
  header.row_unit = 20;
  header.plan_bytes = 40;
  header.index_bytes = index_bytes_for(100, 5);
  header.rows_bytes = 2500;
  return header;
}

PayloadHeader slotted_header() {
  PayloadHeader header = packed_header();
  header.packing = Packing::kSlotted;
  header.index_bits = 0;
  header.index_bytes = 0;
  header.row_unit = 24;
  header.rows_bytes = 2400;
  header.overflow_bytes = 77;
  return header;
}

TEST(Payload, HeadersComeBack) {
  for (const PayloadHeader& header : {packed_header(), slotted_header()}) {
    const auto bytes = payload_of(header);
    const Payload payload = unwrap(parse_payload(bytes));
    EXPECT_EQ(payload.header.shape, header.shape);
    EXPECT_EQ(payload.header.row_unit, header.row_unit);
    EXPECT_EQ(payload.header.geometry.num_rows, 100U);
    EXPECT_EQ(payload.rows.size(), header.rows_bytes);
    EXPECT_EQ(payload.overflow.size(), header.overflow_bytes);
    EXPECT_EQ(static_cast<std::uint64_t>(payload.rows.data() - bytes.data()) % alignment(header.packing), 0U);
  }
}

TEST(Payload, TilesOfSeveralRowsCountAsRows) {
  PayloadHeader header = packed_header();
  header.tile_bytes = 7 * 32;
  EXPECT_EQ(header.tiles().num_rows, 15U);
  EXPECT_EQ(header.tiles().row_bytes, 224U);
  header.index_bytes = index_bytes_for(15, 5);
  EXPECT_TRUE(parse_payload(payload_of(header)).ok());
}

TEST(Payload, RepeatsAreLeftOutOfTheSections) {
  PayloadHeader header = packed_header();
  header.num_repeats = 60;
  EXPECT_EQ(header.stored_tiles().num_rows, 40U);
  EXPECT_EQ(header.map_bits(), 6U);
  EXPECT_EQ(header.map_bytes(), 75U);
  header.index_bytes = index_bytes_for(40, 5);
  header.rows_bytes = 1000;
  const auto bytes = payload_of(header);
  const Payload payload = unwrap(parse_payload(bytes));
  EXPECT_EQ(payload.map.size(), 75U);
  EXPECT_EQ(payload.header.num_repeats, 60U);
}

TEST(Payload, OneRowMayBeAllThatIsStored) {
  PayloadHeader header = packed_header();
  header.num_repeats = 99;
  header.index_bits = 0;
  header.index_bytes = 0;
  header.rows_bytes = 20;
  EXPECT_EQ(header.map_bytes(), 0U);
  EXPECT_TRUE(parse_payload(payload_of(header)).ok());
}

struct BrokenRule {
  const char* field;
  PayloadHeader (*base)();
  std::function<void(PayloadHeader&)> breaking;
};

class BrokenRules : public ::testing::TestWithParam<BrokenRule> {};

TEST_P(BrokenRules, AreNamed) {
  PayloadHeader header = GetParam().base();
  GetParam().breaking(header);
  auto bytes = serialize(header);
  bytes.resize(8192);
  const auto result = parse_payload(bytes);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.fault().message.find(GetParam().field), std::string::npos) << result.fault().message;
}

constexpr std::uint64_t kHuge = std::uint64_t{1} << 61;

INSTANTIATE_TEST_SUITE_P(
    All, BrokenRules,
    ::testing::Values(
        BrokenRule{"dtype", packed_header, [](PayloadHeader& h) { h.dtype = static_cast<DType>(kNumDTypes); }},
        BrokenRule{"packing", packed_header, [](PayloadHeader& h) { h.packing = static_cast<Packing>(2); }},
        BrokenRule{"row_dims", packed_header, [](PayloadHeader& h) { h.row_dims = 3; }},
        BrokenRule{"rank", packed_header, [](PayloadHeader& h) { h.shape.resize(kMaxRank + 1, 1); }},
        BrokenRule{"shape", packed_header, [](PayloadHeader& h) { h.shape = {kHuge, 8}; }},
        BrokenRule{"index_bits", packed_header, [](PayloadHeader& h) { h.index_bits = kMaxIndexBits + 1; }},
        BrokenRule{"index_bytes", packed_header, [](PayloadHeader& h) { h.index_bytes -= 48; }},
        BrokenRule{"row_unit", packed_header, [](PayloadHeader& h) { h.row_unit = 33; }},
        BrokenRule{"rows_bytes", packed_header, [](PayloadHeader& h) { h.rows_bytes = 1999; }},
        BrokenRule{"rows_bytes", packed_header, [](PayloadHeader& h) { h.rows_bytes = 3201; }},
        BrokenRule{"rows_bytes", packed_header, [](PayloadHeader& h) { h.index_bits = 0, h.index_bytes = 0; }},
        BrokenRule{"overflow_bytes", packed_header, [](PayloadHeader& h) { h.overflow_bytes = 1; }},
        BrokenRule{"tile_bytes", packed_header, [](PayloadHeader& h) { h.tile_bytes = 0; }},
        BrokenRule{"tile_bytes", packed_header, [](PayloadHeader& h) { h.tile_bytes = 30; }},
        BrokenRule{"tile_bytes", packed_header, [](PayloadHeader& h) { h.tile_bytes = 101 * 32; }},
        BrokenRule{"tile_bytes", packed_header, [](PayloadHeader& h) { h.codec = Codec::kRaw, h.tile_bytes = 64; }},
        BrokenRule{"tile_bytes", slotted_header, [](PayloadHeader& h) { h.tile_bytes = 64; }},
        BrokenRule{"tile_bytes", packed_header,
                   [](PayloadHeader& h) { h.shape = {100, 1 << 19}, h.tile_bytes = (1 << 20) + 4; }},
        BrokenRule{"row_unit", packed_header, [](PayloadHeader& h) { h.codec = Codec::kRaw; }},
        BrokenRule{"index_bits", packed_header, [](PayloadHeader& h) { h.codec = Codec::kRaw, h.row_unit = 32; }},
        BrokenRule{"plan_bytes", packed_header, [](PayloadHeader& h) { h.plan_bytes = ~std::uint64_t{0}; }},
        BrokenRule{"index_bits", slotted_header, [](PayloadHeader& h) { h.index_bits = 1; }},
        BrokenRule{"index_bytes", slotted_header, [](PayloadHeader& h) { h.index_bytes = 1; }},
        BrokenRule{"row_unit", slotted_header, [](PayloadHeader& h) { h.row_unit = 15; }},
        BrokenRule{"row_unit", slotted_header, [](PayloadHeader& h) { h.row_unit = 33; }},
        BrokenRule{"rows_bytes", slotted_header, [](PayloadHeader& h) { h.rows_bytes = 2401; }},
        BrokenRule{"overflow_bytes", slotted_header, [](PayloadHeader& h) { h.row_unit = 32, h.rows_bytes = 3200; }},
        BrokenRule{"its header says", packed_header, [](PayloadHeader& h) { h.plan_bytes += 32; }}));

TEST(Payload, ShortOrForeignBytesAreRefused) {
  const auto bytes = payload_of(packed_header());
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(parse_payload(Bytes(bytes).first(size)).ok());
  auto foreign = bytes;
  foreign[0] = std::byte{'X'};
  EXPECT_NE(parse_payload(foreign).fault().message.find("STILLBIT"), std::string::npos);
  auto newer = bytes;
  newer[16] = std::byte{2};
  EXPECT_EQ(parse_payload(newer).fault().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace stillbit::format
