#include "analysis/stored_bits.hpp"

#include <algorithm>
#include <numeric>

namespace stillbit::analysis {
namespace {

using Bits = std::array<std::uint64_t, kNumBitUses>;

std::uint64_t& of(Bits& bits, BitUse use) {
  return bits[static_cast<std::size_t>(use)];
}

std::uint64_t sum(const Bits& bits) {
  return std::accumulate(bits.begin(), bits.end(), std::uint64_t{0});
}

/// The same shares of `total`. What is lost by rounding, less than a bit each, goes to the largest.
Bits scaled(const Bits& bits, std::uint64_t total) {
  const auto counted = static_cast<long double>(sum(bits));
  Bits result{};
  for (std::size_t i = 0; i < bits.size() && counted > 0; ++i) {
    result[i] =
        static_cast<std::uint64_t>(static_cast<long double>(bits[i]) / counted * static_cast<long double>(total));
  }
  const auto largest = std::max_element(result.begin(), result.end());
  *largest += total - sum(result);
  return result;
}

}  // namespace

const std::vector<float>& StoredBits::add(const RowCodec& codec, const StoredRow& row) {
  ++num_tiles_;
  if (header_.packing == Packing::kSlotted && header_.row_unit < header_.tile_bytes)
    slot_bits_ += 8 * (row.num_bytes < header_.row_unit ? format::kSlotTagBytes : format::kSlotTrailerBytes);
  account_.word_bits.clear();
  if (row.is_raw) {
    raw_bits_ += 8 * row.num_bytes;
    return account_.word_bits;
  }
  const std::uint64_t before = account_.num_bits();
  codec.account(row, account_);
  padding_bits_ += 8 * row.num_bytes - (account_.num_bits() - before);
  return account_.word_bits;
}

Bits StoredBits::in_rows() const {
  Bits bits{};
  of(bits, BitUse::kValues) = account_.values;
  of(bits, BitUse::kCodes) = account_.codes;
  of(bits, BitUse::kExceptions) = account_.exceptions;
  of(bits, BitUse::kMarks) = account_.marks;
  of(bits, BitUse::kPositions) = account_.positions;
  of(bits, BitUse::kRawRows) = raw_bits_;
  of(bits, BitUse::kSlots) = slot_bits_;
  of(bits, BitUse::kPadding) = padding_bits_;
  const std::uint64_t total = 8 * (header_.rows_bytes + header_.overflow_bytes);
  // Of all tiles nothing is scaled: what is more than they have is room that no slot names any more.
  const bool is_whole = num_tiles_ == header_.stored_tiles().num_rows;
  if (is_whole && sum(bits) <= total) {
    of(bits, BitUse::kPadding) += total - sum(bits);
    return bits;
  }
  return scaled(bits, total);
}

Bits StoredBits::result() const {
  using format::Section;
  const format::PayloadLayout layout = layout_of(header_);
  const auto bits_of = [&](Section section) { return 8 * layout.size[static_cast<std::size_t>(section)]; };
  Bits bits = in_rows();
  of(bits, BitUse::kHeader) = bits_of(Section::kHeader);
  of(bits, BitUse::kPlan) = bits_of(Section::kPlan);
  of(bits, BitUse::kMap) = bits_of(Section::kMap);
  of(bits, BitUse::kIndex) = bits_of(Section::kIndex);
  // Sections start at multiples of the alignment.
  of(bits, BitUse::kPadding) += 8 * layout.payload_bytes - sum(bits);
  return bits;
}

}  // namespace stillbit::analysis
