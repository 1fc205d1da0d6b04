#include "codecs/window/layout.hpp"

#include "core/checked.hpp"

#include <bit>
#include <string>

namespace stillbit::window {
namespace {

enum Field : std::size_t {
  kViewBytesAt = 0,
  kIsSignedAt = 1,
  kDroppedBitsAt = 2,
  kFieldBitsAt = 3,
  kBaseBytesAt = 4,
  kBaseShiftAt = 5,
  kReservedAt = 6,
  kNumBasesAt = 8,
  kBasesAt = 12,
};

Fault bad_field(const char* field, std::uint64_t value) {
  return corrupt(std::string("window plan: field ") + field + " has the invalid value " + std::to_string(value));
}

}  // namespace

std::uint64_t serialized_bytes(const Plan& plan) noexcept {
  return kBasesAt + plan.bases.size() * plan.base_bytes;
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(serialized_bytes(plan));
  std::byte* dst = bytes.data();
  const auto put = [&](std::size_t offset, unsigned value) { store(dst + offset, static_cast<std::uint8_t>(value)); };
  put(kViewBytesAt, plan.view_bytes);
  put(kIsSignedAt, plan.is_signed ? 1 : 0);
  put(kDroppedBitsAt, plan.dropped_bits);
  put(kFieldBitsAt, plan.field_bits);
  put(kBaseBytesAt, plan.base_bytes);
  put(kBaseShiftAt, plan.base_shift);
  store(dst + kNumBasesAt, static_cast<std::uint32_t>(plan.bases.size()));
  dst += kBasesAt;
  for (const std::uint64_t base : plan.bases) {
    const std::uint64_t stored = base >> plan.base_shift;
    std::memcpy(dst, &stored, plan.base_bytes);
    dst += plan.base_bytes;
  }
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (bytes.size() < kBasesAt) return corrupt("window plan: " + std::to_string(bytes.size()) + " bytes are too few");
  const auto get = [&](std::size_t offset) -> unsigned { return load<std::uint8_t>(bytes.data() + offset); };
  Plan plan;
  plan.row_bytes = row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) return bad_field("row_bytes", row_bytes);
  plan.view_bytes = get(kViewBytesAt);
  if (plan.view_bytes > 8 || !std::has_single_bit(plan.view_bytes) || row_bytes % plan.view_bytes != 0)
    return bad_field("view_bytes", plan.view_bytes);
  if (get(kIsSignedAt) > 1) return bad_field("is_signed", get(kIsSignedAt));
  plan.is_signed = get(kIsSignedAt) == 1;
  plan.dropped_bits = get(kDroppedBitsAt);
  if (plan.dropped_bits >= 8 * plan.view_bytes) return bad_field("dropped_bits", plan.dropped_bits);
  plan.field_bits = get(kFieldBitsAt);
  if (plan.field_bits > plan.value_bits() || plan.field_bits > fields::max_field_bits(plan.view_bytes))
    return bad_field("field_bits", plan.field_bits);
  plan.base_bytes = get(kBaseBytesAt);
  if (plan.base_bytes > plan.view_bytes || !std::has_single_bit(plan.base_bytes))
    return bad_field("base_bytes", plan.base_bytes);
  plan.base_shift = get(kBaseShiftAt);
  if (plan.base_shift >= plan.value_bits()) return bad_field("base_shift", plan.base_shift);
  for (std::size_t i = kReservedAt; i < kNumBasesAt; ++i) {
    if (get(i) != 0) return bad_field("reserved", get(i));
  }
  const auto num_bases = load<std::uint32_t>(bytes.data() + kNumBasesAt);
  if (num_bases == 0 || num_bases > plan.num_columns() || plan.num_columns() % num_bases != 0)
    return bad_field("num_bases", num_bases);
  if (bytes.size() != kBasesAt + std::uint64_t{num_bases} * plan.base_bytes)
    return bad_field("plan_bytes", bytes.size());
  const std::uint64_t most = ~std::uint64_t{0} >> (64 - plan.value_bits()) >> plan.base_shift;
  plan.bases.resize(num_bases);
  for (std::size_t i = 0; i < num_bases; ++i) {
    std::uint64_t stored = 0;
    std::memcpy(&stored, bytes.data() + kBasesAt + i * plan.base_bytes, plan.base_bytes);
    if (stored > most) return bad_field("bases", stored);
    plan.bases[i] = stored << plan.base_shift;
  }
  return plan;
}

std::uint64_t minimum_row_bytes(const Plan& plan) noexcept {
  return ceil_div(plan.num_columns() * plan.field_bits, 8);
}

RowLayoutStorage::RowLayoutStorage(const Plan& plan) {
  layout_.row_bytes = plan.row_bytes;
  layout_.num_columns = plan.num_columns();
  layout_.plane_bytes = minimum_row_bytes(plan);
  layout_.field_bits = plan.field_bits;
  layout_.dropped_bits = plan.dropped_bits;
  layout_.is_signed = plan.is_signed;
  const std::uint64_t field_mask = (std::uint64_t{1} << plan.field_bits) - 1;
  layout_.field_places = field_mask << plan.dropped_bits;
  layout_.marker = (plan.field_bits == 0 ? 1 : field_mask) << plan.dropped_bits;
  layout_.dropped = (std::uint64_t{1} << plan.dropped_bits) - 1;
  layout_.unpacking =
      fields::unpacking_for({.word_bytes = plan.view_bytes, .field_bits = plan.field_bits, .place = plan.dropped_bits});
  if (plan.field_bits >= fields::min_packed_bits(plan.view_bytes)) {
    packing_ = fields::packing_for(plan.view_bytes, plan.field_bits);
    layout_.packing = &packing_;
  }

  layout_.has_column_bases = plan.bases.size() > 1;
  const std::uint64_t num_words = kChunkWords + (layout_.has_column_bases ? layout_.num_columns : 0);
  bases_.resize(num_words * plan.view_bytes);
  for (std::uint64_t i = 0; i < num_words; ++i) {
    const std::uint64_t placed = plan.bases[i % plan.bases.size()] << plan.dropped_bits;
    std::memcpy(bases_.data() + i * plan.view_bytes, &placed, plan.view_bytes);
  }
  layout_.bases = bases_.data();
}

}  // namespace stillbit::window
