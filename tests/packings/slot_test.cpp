#include "packings/slot.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace stillbit::packing {
namespace {

std::uint64_t stride_for(std::vector<std::uint32_t> sizes, std::uint64_t row_bytes) {
  return choose_stride(sizes, row_bytes);
}

TEST(ChooseStride, RowsOfOneSizeFitTheirSlots) {
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 200), 512), 201U);
  // 255 bytes and the tag are two lines.
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 255), 512), 256U);
  // 3 % more buys aligned slots.
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 1000), 2048), 1024U);
}

TEST(ChooseStride, RareLongRowsGoToTheOverflow) {
  std::vector<std::uint32_t> sizes(1000, 255);
  for (int i = 0; i < 10; ++i) sizes[static_cast<std::size_t>(i)] = 2000;
  EXPECT_EQ(stride_for(sizes, 2048), 256U);
}

TEST(ChooseStride, RowsThatHardlyShrinkStayRaw) {
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 510), 512), 512U);
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 512), 512), 512U);
  EXPECT_EQ(stride_for(std::vector<std::uint32_t>(1000, 3), 8), 8U);
  EXPECT_EQ(stride_for({}, 512), 512U);
}

TEST(FillSlot, TailsAreWhatDoesNotFit) {
  constexpr std::uint64_t kStride = 32;
  EXPECT_EQ(tail_bytes_for(31, kStride), 0U);
  EXPECT_EQ(tail_bytes_for(32, kStride), 32U - slot_head_bytes(kStride));
  std::vector<std::byte> slot(kStride, std::byte{0xEE});
  std::vector<std::byte> row(40, std::byte{7});
  fill_slot(slot.data(), kStride, row, true, 1234);
  EXPECT_EQ(slot_tag(slot.data(), kStride), format::SlotTag::kRawTail);
  EXPECT_EQ(slot_trailer(slot.data(), kStride).tail_offset, 1234U);
  EXPECT_EQ(slot_trailer(slot.data(), kStride).tail_bytes, 40U - slot_head_bytes(kStride));
  fill_slot(slot.data(), kStride, Bytes(row).first(10), false, 0);
  EXPECT_EQ(slot_tag(slot.data(), kStride), format::SlotTag::kInline);
  EXPECT_EQ(slot[9], std::byte{7});
  EXPECT_EQ(slot[10], std::byte{0});
}

}  // namespace
}  // namespace stillbit::packing
