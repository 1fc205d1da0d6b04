#include "codecs/sparse/layout.hpp"

#include "core/checked.hpp"

#include <bit>
#include <string>

namespace stillbit::sparse {
namespace {

constexpr std::uint64_t kPlanHeaderBytes = 12;

/// Bytes behind the values that kernels may read: they look words of any size up as 8 bytes.
constexpr std::uint64_t kValuesSlack = 8;

Fault bad(const char* field, std::uint64_t value) {
  return corrupt(std::string("sparse plan field ") + field + " has the invalid value " + std::to_string(value));
}

std::uint64_t low_ones(unsigned num_bits) noexcept {
  return num_bits == 0 ? 0 : ~std::uint64_t{0} >> (64 - num_bits);
}

std::uint64_t num_buckets(const Plan& plan) noexcept {
  return ceil_div(plan.num_columns(), std::uint64_t{1} << plan.low_bits);
}

/// Bits of a word between its sign, where codes keep that apart, and the zeros at its low end.
unsigned magnitude_bits(const Plan& plan) noexcept {
  return 8 * plan.view_bytes - plan.sign_bits - plan.zero_bits;
}

Result<void> check_values(const Plan& plan, std::uint64_t num_values) {
  const unsigned word_bits = 8 * plan.view_bytes;
  if (plan.value_mode == ValueMode::kDictionary) {
    if (num_values == 0 || num_values > kMaxValues) return bad("num_values", num_values);
    if (plan.code_bits != code_bits_for(num_values)) return bad("code_bits", plan.code_bits);
    if (plan.sign_bits != 0) return bad("sign_bits", plan.sign_bits);
    if (plan.zero_bits != 0) return bad("zero_bits", plan.zero_bits);
    return {};
  }
  if (num_values != 1) return bad("num_values", num_values);
  if (plan.sign_bits > 1) return bad("sign_bits", plan.sign_bits);
  if (plan.sign_bits + plan.zero_bits >= word_bits) return bad("zero_bits", plan.zero_bits);
  if (plan.code_bits < plan.sign_bits || plan.code_bits > word_bits - plan.zero_bits) {
    return bad("code_bits", plan.code_bits);
  }
  return {};
}

}  // namespace

unsigned column_bits_for(std::uint64_t num_columns) noexcept {
  return static_cast<unsigned>(std::bit_width(num_columns - 1));
}

unsigned code_bits_for(std::uint64_t num_values) noexcept {
  return static_cast<unsigned>(std::bit_width(num_values - 1));
}

std::uint64_t serialized_bytes(const Plan& plan) noexcept {
  return kPlanHeaderBytes + plan.view_bytes * (1 + plan.values.size());
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(serialized_bytes(plan));
  std::byte* dst = bytes.data();
  store(dst, static_cast<std::uint8_t>(plan.view_bytes));
  store(dst + 1, static_cast<std::uint8_t>(plan.low_bits));
  store(dst + 2, static_cast<std::uint8_t>(plan.code_bits));
  store(dst + 3, static_cast<std::uint8_t>(plan.value_mode));
  store(dst + 4, static_cast<std::uint8_t>(plan.sign_bits));
  store(dst + 5, static_cast<std::uint8_t>(plan.zero_bits));
  store(dst + 8, static_cast<std::uint32_t>(plan.values.size()));
  dst += kPlanHeaderBytes;
  std::memcpy(dst, &plan.background, plan.view_bytes);
  for (const std::uint64_t value : plan.values) std::memcpy(dst += plan.view_bytes, &value, plan.view_bytes);
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) return bad("row_bytes", row_bytes);
  if (bytes.size() < kPlanHeaderBytes) return corrupt("sparse plan is shorter than its header");
  const std::byte* src = bytes.data();
  Plan plan;
  plan.row_bytes = row_bytes;
  plan.view_bytes = load<std::uint8_t>(src);
  plan.low_bits = load<std::uint8_t>(src + 1);
  plan.code_bits = load<std::uint8_t>(src + 2);
  const auto value_mode = load<std::uint8_t>(src + 3);
  plan.sign_bits = load<std::uint8_t>(src + 4);
  plan.zero_bits = load<std::uint8_t>(src + 5);
  const auto reserved = load<std::uint16_t>(src + 6);
  const auto num_values = load<std::uint32_t>(src + 8);

  if (!std::has_single_bit(plan.view_bytes) || plan.view_bytes > 8 || row_bytes % plan.view_bytes != 0) {
    return bad("view_bytes", plan.view_bytes);
  }
  if (plan.low_bits > column_bits_for(plan.num_columns())) return bad("low_bits", plan.low_bits);
  if (value_mode > static_cast<std::uint8_t>(ValueMode::kWindow)) return bad("value_mode", value_mode);
  plan.value_mode = static_cast<ValueMode>(value_mode);
  if (reserved != 0) return bad("reserved", reserved);
  STILLBIT_CHECK(check_values(plan, num_values));
  plan.values.resize(num_values);
  if (const auto size = serialized_bytes(plan); size != bytes.size()) {
    return corrupt("sparse plan_bytes is " + std::to_string(bytes.size()) + " instead of " + std::to_string(size));
  }

  src += kPlanHeaderBytes;
  std::memcpy(&plan.background, src, plan.view_bytes);
  for (std::uint64_t& value : plan.values) std::memcpy(&value, src += plan.view_bytes, plan.view_bytes);
  if (plan.value_mode == ValueMode::kWindow && plan.values[0] > low_ones(magnitude_bits(plan))) {
    return bad("base", plan.values[0]);
  }
  return plan;
}

RowPrice row_price(const Plan& plan) noexcept {
  const bool is_bitmap = plan.low_bits == 0;
  const std::uint64_t num_columns = plan.num_columns();
  return {.fixed_bits = (is_bitmap ? num_columns : num_buckets(plan)) + 1,
          .element_bits = (is_bitmap ? 0U : 1U) + plan.low_bits + plan.code_bits,
          .exception_bits = column_bits_for(num_columns) + 8 * plan.view_bytes + 1};
}

std::uint64_t minimum_row_bytes(const Plan& plan) noexcept {
  return ceil_div(row_price(plan).fixed_bits, 8);
}

RowLayoutStorage::RowLayoutStorage(const Plan& plan) {
  layout_ = {.row_bytes = plan.row_bytes,
             .num_columns = plan.num_columns(),
             .background = plan.background,
             .num_buckets = num_buckets(plan),
             .minimum_row_bytes = sparse::minimum_row_bytes(plan),
             .price = row_price(plan),
             .low_bits = plan.low_bits,
             .code_bits = plan.code_bits,
             .column_bits = column_bits_for(plan.num_columns()),
             .value_mode = plan.value_mode,
             .sign_bits = plan.sign_bits,
             .zero_bits = plan.zero_bits,
             .base = plan.values[0],
             .offset_mask = low_ones(magnitude_bits(plan)),
             .max_offset = low_ones(plan.code_bits - plan.sign_bits),
             .num_values = plan.values.size()};
  if (plan.value_mode == ValueMode::kWindow) return;

  values_.resize(plan.view_bytes * plan.values.size() + kValuesSlack);
  // At most half of the slots are taken, and as many again lie behind for the words that look first at the last ones.
  const unsigned slot_bits = code_bits_for(plan.values.size()) + 1;
  layout_.slot_shift = 64 - slot_bits;
  slots_.assign((std::size_t{1} << slot_bits) + kMaxProbes, Slot{0, kFreeSlot});
  std::byte* dst = values_.data();
  for (std::uint32_t code = 0; code < plan.values.size(); ++code, dst += plan.view_bytes) {
    const std::uint64_t word = plan.values[code];
    std::memcpy(dst, &word, plan.view_bytes);
    Slot* slot = slots_.data() + (word * kHashFactor >> layout_.slot_shift);
    const Slot* const end = slot + kMaxProbes;
    while (slot != end && slot->code != kFreeSlot && slot->word != word) ++slot;
    if (slot != end && slot->code == kFreeSlot) *slot = {word, code};
  }
  layout_.values = values_.data();
  layout_.slots = slots_.data();
}

}  // namespace stillbit::sparse
